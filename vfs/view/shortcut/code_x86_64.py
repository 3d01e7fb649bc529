"""Machine code of page.c and cave.S, written by make.py."""

from base64 import b85decode

MADE_OF = "b1db77cb77b6cfbeb444fa7f6393224c317766143168516795fa7442c4b0ec92"

PAGE = b85decode(
    "4+X<!W-"
    "bpOga7~l003r?S5{I%QbABbQBX*U=T%6F<w%3%@aP`^002md>|KSxSV37qSV3A^USD;@P>Vz)01pL7jbtPU!$DU;RzX!kR8>fc{ZmMR>@WcU07#1uOp8x2NQ"
    "3zXbaa0VNQ3zTbW})#`2_0>NQ3!VbYOoANQ3zmb$vxK<m+2Vf%y#q004g;NP+nP0RRAgW=MhQ0RaF2xFHk(07%p5r~!0S>l#Rb`Ah)-"
    "0CW*Zf%&%q0049d>pe`1XDI6$M2X8qG2~2(O(;RQ0RR91>k~yW<V7*S>jpu%0RR91yPW_3|4F?75C8xWRR91%i$ws1z;y>P!0E>X002pW`Tzd_0Cw<9iONX9"
    ">MwQYOo`4xx(EOO0JshS002mX&;Lk+=J@Ez{{R0-gZT1v#zBi!06~fY|H^eTJTG(#xB&nF0O@-K002RNc>!>B??Hfh0&;ceL4bJ!Z*}1@z(Ig{1Y-"
    "}C!0A^6002mfMF2=W3jqKCbZLJWNId}o0049%NIeDt004A9NQ3wSbQtSWNIgse0049~NIka!0049+>p)D4WgtZ{z(EhX<PmZ*L4oAJ0000*F~CWI{J;PJ06`"
    "Cx!0Q`Ki$xgg1Wb!XAW6aK2uXwR0YQV{0qX-rF~CWUX#qts_DO@x|44(+|3SSD0001rMgN4rbVfWcO%FuoNrC<V1ONaJgyR1H|451If#UxU0049dN&m)3|Hb"
    "RmNQv%2x(EOO08EMKNQ371=(qj<|44)Q@^#(mum1o4O^s|M0ZlpebQ(#GL?i++?MylFbrUh|Lx6lC0WLrfl*Q`~y#W9K08NGV4}^XG|NlviL?i=DIq-"
    "E9Lx6lC0WNh6Lx6lC0xl1PU;h99L4Y|g4}|yt005x~5C8xWRR92mzz>B){{R1j`<!(mNR50XFhw!axK98805Q_O@Bjb+=p+6A|4fZg|LK$f002mhd?XOL761"
    "SMF~CT^;{^Z!5LEyG^Q1_Pd?Y5h3IG5A^Qwj04~X&o|Nn{EiP*jY0002L3IG5AgZK${2r<(C#`pK@^NoHKLAnY6004vk6m%Gg$T8AEiTnT0LHF{5!Z3-"
    "!LWoox5bNWOMioUd(nyVTBrv-00002SL<A53NR50X5V%<Y008KT{Qv(+iNZ;ZLjOoT?f?J)4~KdE|Nnq|Brq=zg>L=-|4oJDeoR8fL=-"
    "SDNsUqg>k36N(oKcren~OXNsR;)NImcX000k<L;e5%F~CTTOcXFlImCVqL5eg1K!`K}NdLg=?lHhkh2%^RNZ?J46ckK}(5MG=3dTePFaSvZ!0YlviBu#EMU7"
    "eqON~4!p#%^B01#CG07$wOd`f@0c{iRx!RrHwL?i?;z(hINa~MoBRKzey|G-"
    "QSuhLA3(MZARAW1RG>*GZ+<Vd~%5C8xWRR91?iO@_j;3fY9002mhP!LGL;s{6q@{2NwbR-BsfaU=Yg%JS&0E<clIZPx34}}B)004_p2su<F3=f6(0000;z5o"
    "ya01#CG07;3(G15uF<po4J+H)O=(MbQoN{x&u0s;U4NQ(^4NIOi_D0JiL!T<mONQuHojc^e`jf(;T002q701yBG5LEyGNWtO-NWta^NCC=B0q#kSRMh}TIr4"
    "K`iVB3ubX7=+(LssLK`GTpIq`EqM2ay*g!Xh1MTzc2iaAC)JU4X(NdLj>+=>x|(sc(yfIKe%bQ(yB%1DXPNdLl2jcWf%IrVd|iV1|tb?fV=x&Z(H0P6xV(nz"
    "@g5C8xWRR91;gTN3-"
    "!Qco;0mzF0IYcA~br_)p5C8xWRR91vL?i@t35C*h7wLif|Nlw<#7Tqv1P_I>{{R2!Z~OoML4)uCK?&#&g{%Aj|DgyF000nG004!+4~0?t|NlshR3s2cWBa%Z"
    "0RR9@iOxZ~0RR91=rj8N|46~;KS+VZFaZDnTU|k1L0v&!L0`i!aB^>BFLY>fWnpA3b7gF1FJ@#f00000000000000"
)

CAVE = b85decode(
    "OpP6SdU|?6gF69r4N1EY0000GRR91%|KmY}I{<VIP>Vz)01pL7jbtPU!&g>PP`Dld006&xdwY9Gz5oCK01#CG0J;E>000jKOpP6SdU|?DIq-"
    "B2F~GS30002+K@YJD>jy!{0|5X409aaHU+aw"
)
