"""Machine code of page.c and cave.S, written by make.py."""

from base64 import b85decode

MADE_OF = "b04e690ba559a5f9f202b36bfa8e73c9d6a47a83f3bf2fd7a4fd9f6792f9d716"

PAGE = b85decode(
    "4+X<!W-"
    "bpOga7~l003r?S5{I%QbABbQBX*U=T%6F<w%3%@aP`^002md>|KSxSV37qSV3A^USD;@P>Vz)01pL7jbtPU!$DU;RzX!kR8><*f$T5=002mf2TY4kFi3;=1`"
    "mWS0RRAhBuIn!0uO|X0002Hod5s-LAU_`002mX_yiAx6afGL>G%Qw07!%QSr3H$0001g8c2iq6%U2t0ssKJod5s-LAU_`008Of0000;Jq-"
    "Z>0DmS(Jpcg!01uA70ssI=jfnsL|Npun6aWB7)9QfY0S|<x0ssK(Ur0Sn0RRAWJV-sa0RR9Gg^&UO07Qw)Op8w_>t{%dM<@@v;1LgkhyVZpCBOgx07WstyPW"
    "_3|42Q+0000%50${{cT9^%AV`ZxC_xXp;0zCfO#%P_M2X8uiNWheM2X8xi%%#>JqrN<0CY-"
    "!GDtlE0RR9Ggrfui07yLs0RRAX5KN0l7(oxZ;0$vX=@0?{0719`0000;Jp};(0Dc)oF~CW|=m<%J@Bu-C-"
    "~sChyPW_3|3xvtNxc9N000nG002RYMF54s4}{YJ002pW`Tzd_01t-70RR9@iONX9>Msw4xd8wGOo`4xx(EOO0JshS002mX&;Lk+=J@Cp{{R0-"
    "gZT0fgp>gQ07;E$0Yx$PNrTM)LB9?F004?b|AfGFMm#S~4@Blkf&Ksl000k!X#oHLNQvr!;{Oi-"
    "0CWgR|HerF#p}~ZiS9wV2mk;8Oo{kNgXZ|?xc&eCNQ3zDb=~PU0RR9&i$wtc$aOS9fH^O83b+9P008O10{{R)fO!FMb?-"
    "rdc>;2E=s|#a18;TVF~C89c?4q*mB8tp0{{R`jcg<VO*!>+8cB^rBmyz*OgZp%6EW>WfP5hVE<g{I#p@2e0RR91O@;OkgvbB@07;ERBm+!2@O2bJfP5hVE_D"
    "n;fP5hWE)RsN0000%fH^M@gz^9Y0HFvF000nG004!+4~35a004vgoOK^ajeI09MKRL2PXGV_G19*90002!==}fxOpQ?g>t9HXd?XOL761SMF~CT^J_Y~)5LE"
    "yG^Q1_Pd?Y5h3IG5A^Qwj0cteTViP*jY0002L3IG5A>pG1_6-"
    "6=9NR4zPFuL#n0072B1P}m7jeH~!xLE)I0O*GN|Nlve!by!n|42RV0001XIx)cMoB{v<gZK${2r<(C#`pK@^NoHKLAnY6004vk6m+YJ$T8AEiTnT0LHF{5!Z"
    "3-!LWoox5bNWBd?YY0b-zu8<bFs(#zYh_FG-D30qY7yG15(i<bFjl(n*a36i7Yr0001gm@&XejZ73UNjb!R4MB=D0YHc}0Z9MA>+UhYO@-"
    "u44@lrmjT972iO{GAbPC2q1TX+d|G?|=M2S=+3`LDv2TP4SDWL=q000nG002n36?{s6xp_C9LBZ<-"
    "i9{p>F~CGQ*mD?6GgQPdNdLf053kZpiP1>G=^#ll%Io7rG2}?T01yBG5LEyGOo`A;G2kWt0{{R>jZhFs!Qu!=0rHD7iF70gK!D}}4}}o{004_h1UXD31P_G-"
    "0RRAtQV2OzBn%IQ_W%F@NWK6N000nG002pe#WB)J!Q}-"
    "+Iofj_iP1>^!b**dDFOlj07#1r&PY2<)F^c0>B0a207!|#NR4n2L5+(70ssI>y#NpZ01#CG07${&1xUf>2uK0SOabmmja1bDNICLzTZ#&V$#hjniP1rc%|R*"
    "ENICIyKtzf$MTGWr5k-maM2a~^Iy^UZ1xWwF>)eVFgwk~fLV!Fk0CXBiiONWc(MbQoOpR*)Njdd%uZjtT$#v`Nr@8?E008R(G15r601yBG5LEyGNQ1x-"
    "NWtI;NCC);069b?2z3~t1P}lK5LEyGIYcA`bqR&ibQkH?{r~?-"
    "|HMgy`~(k$vi|@7>BRm2|3QQB0YM4q4~38X|No%~5C8xWRR92mzz>C{{r~?+jZ`EMNMrlB3jqKCOo`4xx&Z(H0O$hx|NltA=s)WyNQ*}xMKQn+y5JEHf{XkA"
    "|0Tcx002cXz(_s70000%50${_bo>ARNP)yK0RRA7T|rzyT|r(!U&AkOa&KcVbZByAVPq|HWo%|IW@Ik_0000000000000"
)

CAVE = b85decode(
    "OpP6SdU|?6gF69r4N1EY0000GRR91%|KmY}I{<VIP>Vz)01pL7jbtPU!&g>PP`Dld006&xdwY9Gz5oCK01#CG0J;E>000jKOpP6SdU|?DIq-"
    "B2F~GS30002+K@YJD>jy!{0|5X409aaHU+aw"
)
