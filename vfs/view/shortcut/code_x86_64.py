"""Machine code of page.c and cave.S, written by make.py."""

from base64 import b85decode

MADE_OF = "1fbcec212ee5473afcb22d2b28aec1fbd036d359ab63e15713ec15d383feaf24"

PAGE = b85decode(
    "4+X<!W-"
    "bpOga7~l003r?S5{I%QbABbQBX*U=T%6F<w%3%@aVAt002md>|KSxSV37qSV3A^USD;@P>Vz)01pL7jbtPU!$gfn2SHasiSbCd1P}lK5LEyGK~_P*=mSAjK~"
    "z;piPeenQ%H&XQACR%F~CT<6?{s6xp_C9L^;577f3S{!$|+YNDr^kNQu@+!R{bPG4ku=NxA?K000nG002cX+enGfOflFc{{sL3NR4<9NQwDK!Qlu@0ntQ@DM"
    "9wd0S|@o0001saRfv;<`0GC0001sNeDza$q$9u0000<iN-"
    "O>Nx|j?L^;889f{6J|G`R)v^D|)002pgH1bG0bj$d3<LRyd002mha1lX`hynrt07${$1xUf>2uK0QOaazOjRe9-Iq-"
    "95iU@?sbYVz|!9j`7K`F;XiF_mkNICIyM?{J-MTGWr6hw=3Bm_i?IYv5sH2`%5NdLj>)QSOwz;z3YL?i@&d<6gibQ(yB$ViF7NdLf0jd1@-Irej-iV1|tb?f"
    "V!xd8wG0P6xV$w<NH2uuOjiw8tG=yesL1P}lK5LEyGL^<Gf2Z_jo@B!-"
    "&N&mx1gZl&zh1~xC|1rQ?TU|k1L0v&!L0`i`S3y=mRY6o$Q%HgAFaZDnNQ(zdi)S!MgZKsygeU<30DmM%gZKgugo^+G071T-"
    "|NsBJ0RR91NQ3wU4}=c^008Oy0ssI=gZNnwg!lje0Dl@tgZLE>h2{bP071T-|NsBJ0RR91>Er+a07yLz0RRAhCP+O10RR9Gj=}-}07#99|Nj5~x*-"
    "$*07%p7fZ_oUgsK7n0P9{zJxl=r0CYS^J+}b>01t(f0ssI-iRMg;XDI7tNQ*}(54zwH4}yaL001Sx0000n?Loer|Ns9;J-`3}06-"
    "6w#p`lNi*F!Ei$^FAy5$THf>Hti07Z%BNr}YkLq&<^Op9kINIeSy004AHe=tZr0RaF24}{JG002lm1_1y7bq`33Zx|1{<qUHa=@tS20KEYK002lm1pxp6eit"
    "$ANWtw0NQ3nOgXID12tmG_|Ns9n?Mb-+5C8xWRR91%ivfke4}{$T002pW{Qv&|01t-H0RR9@iQ-"
    "7X>Msw4!vO#QOo`?}x(EOO0JshS002mX&;Lk+=J@D|{Qv(*gZT0fgq{Ha08NcVBmqS+|4D<*|GN$V002RXK>vimbVfWcO%FuxNrC?W1ONaJgmM7@08EL(f#U"
    "xU0049dN&m-"
    "5|G?|gOo_%px(EOO07!}0NQ371=qvpH|44)Q@^#(mKLG#$L5l(Z$aOhEfIK8GbPBiu0002#?g9V+L4bTD0dRHhL4bTD0&;ccL4bTD18;TSF~C89d?W;850${"
    "_#sUBUO^rnXO*!~<8%d2t0!1;&OgZ><6-"
    "6=0Lx6lN0WLugl)>u{LAe0{002#e{||)B0000<jYR`YIrw!HLx6lN0WNh6Lx6lN0xl1PuK)l5L4Z6YFAs$E0001?2oL}O5LEyGg}@JmlK=n!L4*FBbstELd?"
    "YYMG19nC0000n(!THj008J!`~Uw)jadKdVn~gABoMh40000nz(~IN1^@sMRR93<q)3f?Bqq5E0002<szrtNctu2s@kEL6z5xIL0KW<V008ScjYbtkG15qlbR"
    ";mk@Bjb+#zX`V07#8|BoMe+0002!@cRG%NQuKpjYI!PJ?;Pi0CqYt!0EsN004vd33doE(*MTy_v`bGeiT8v3IG5AgZ~tCtBJ@l(m{#)|Ib19@`J)KiNQjMR2"
    "&fN<A8i5FfVn#O@-}#M#e-OFfT}rQvvG<G22ar?S4fu(n*a(6#z&*@Bjb+f0;4BNR3PsFiAPZehop2Gz371GyzEe!0YZY+f9Y-"
    "Ne@ZgNCDGGiP)$IbPC2q1TX+d|G?|=M2So!3`>m^1c}~AjeI09NVrJ=000nG002yh1SJ2^g}@JlJOBUxM2k!$41@InL<!9gh57ye|DgyF000nG004!+4}}^3"
    "|NlshR3s2dWB#}c0RR9@iRMAN0RR91=-"
    ">JO|44<v4~WG5|Nlyj1UpPA=tw>90000FkK+FS|4510#zY)2FHDOBBuI@@0Zb|ANR3P+Fh~K&O*zMY4MU0y1VV@m07?JA>+VU7NB=R&OeyG1IsHfvO~FWwbO"
    "QoNjhZk4002mh6dcBc5CH%G{{Tpd@TdoL3dTePFaSvZ!0Ylzy7&eF01#CG07#8|Brr(0NdN!<5LEyG|Iq6uNQ*}xG3^h!;1LgkUHt$5CBOgx05R=IJ-"
    "`3}06-6w#py@<|NlsV#4rH>09#!_TtQtyUO`{O055QIZ(}cXXmVv?WG!=LY-TTJWG?^!000000000000"
)

CAVE = b85decode(
    "OpP6SdU|?6gF69r4N1EY0000GRR91%|KmY}I{<VIP>Vz)01pL7jbtPU!&g>PP`Dld006&xdwY9Gz5oCK01#CG0J;E>000jKOpP6SdU|?DIq-"
    "B2F~GS30002+K@YJD>jy!{0|5X409aaHU+aw"
)
