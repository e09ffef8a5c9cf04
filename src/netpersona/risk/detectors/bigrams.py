"""How much a name looks like something people would choose: a model of letter pairs.

The pairs are counted over the words below, which we chose ourselves: common English words, words of trade and
computing, and syllables of names.  A name of random letters is made of pairs that hardly occur among them.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import cache, lru_cache
from itertools import pairwise

_WORDS = """
the and for are but not you all any can had her was one our out day get has him his how man new now old see two way
who boy did its let put say she too use about after again air also america animal another answer around ask away back
because been before began being below between book both call came change children city close come country could cut
different does done door down draw each earth east eat end enough even every example eye face family far farm fast
father feet few find fire first five fly follow food form found four friend from full game gave girl give good got
great green ground group grow half hand hard head hear help here high home horse hot house hundred idea important inch
into island just keep kind king knew know land language large last late laugh learn leave left letter life light like
line list listen little live long look low made main make many map mark may mean measure men might mile miss money
moon more morning most mother mountain move much music must name near need never next night north nothing notice
number numeral off often oil once only open order other over own page paper part pass pattern people perhaps person
picture piece place plain plan plane plant play point port pose pound power press problem produce product pull
question quick rain ran reach read ready real record red remember rest right river road rock room round rule run said
same saw school sea second seem self sentence serve set several shape ship short should show side simple since sing
six size sleep slow small snow some song soon sound south special spell stand star start state stay step still stood
stop story street strong study such sun sure surface table tail take talk teach tell ten test than that their them
then there these they thing think this those though thought thousand three through time together told took top toward
town travel tree true try turn under unit until upon usual very voice vowel wait walk want war warm watch water week
weight well went were west what wheel when where which while white whole why will wind with wonder wood word work
world would write year yes young account action active admin agent alert analytics android api app apple archive art
article asset atlas auction audio auto bank beauty best beta bike bit black blog blue board body bonus book boost box
brand bridge broker browser build business buy cable cache camera campus car card care career cart case cash cat
center central channel chat check chef choice cinema classic click client clinic cloud club code coffee college color
com commerce community company compare computer connect consult content control cook cool core corp count coupon craft
create creative credit crew crypto culture custom daily dance data date deal delivery demo dental design desk dev
device dict diet digital direct directory discount dish doctor document dog domain download dream drive drug easy echo
eco edge edit education electric element email energy engine english enter enterprise error estate event exchange
expert explore express extra fabric factory fan fashion fast feed field file film finance fish fit flash flight flow
focus foto forum foundation frame free fresh front fund fusion future gallery garden gas gate gear general gift global
gold golf google graph group guard guide hack hair happy health heart hero hit hobby holiday home host hotel hub human
image impact index india info innovation insight install instant insurance intel international internet invest invoice
item java job journal key kids kit lab law lead leaf learn legal lens level library lift link lite load loan local
location lock log login logo loop love lucky luxury machine magazine mail main manage market master match math matrix
media medical meet member menu metal micro mind mini mobile mode model modern monitor motion motor movie museum native
nature net network news node note ocean offer office online optic oracle orange organic outlet owl pack paint panel
park partner party password path patient pay payment pet pharma phone photo pilot pixel planet platform player plus
pocket poker policy pool portal post premium prime print private pro profile program project promo property proxy
public publish pulse quality query quest quiz quote radar radio rank rapid rate recipe recovery release remote rent
report research reserve resource result retail review ride ring robot rocket root router royal safe sale salon sample
save scan science score script search secure security seed sell senior server service session share shop sign silver
site skin sky smart social soft software solar solution source space spark speed sport spot spring stack staff stage
stats status steam stock storage store stream strategy studio style summit super supply support survey sync system tag
target tax team tech tele temple theme ticket tiger title token tool total touch tour tower track trade traffic train
transfer translate trend trip trust tube ultra union united universe update upload urban user valley value vault
venture video view village vision visit vista vital web wedding wiki win window wine wire wish wizard women works yoga
zone zoom anna bella carlo daniel elena felix gabriel hanna ivan julia kevin laura marco nadia oliver pablo rita sofia
tomas viktor berlin boston chicago dallas delhi dublin florida hamburg houston kansas lima london madrid miami milano
moscow oregon oslo paris praha roma seattle singapore sydney tokyo toronto vienna warsaw zurich schule haus markt zeit
bild welt stadt kaufen reise maison france vente prix monde ville jeux casa tienda mundo noticias viagem jogos banco
saude notizie giornale calcio kniga mir nova dom rabota pogoda sklep praca dobry gazeta
"""
STRANGE = 0.5  # strangeness from which a name counts as one that nobody would choose
_ALPHABET = 27  # letters, and everything else as one
_SHORT = 6  # letters: shorter names tell too little


@cache
def _model() -> tuple[dict[str, float], float]:
    """Log-probability of each letter pair given its first letter, and that of a pair never seen."""
    pairs: Counter[str] = Counter()
    firsts: Counter[str] = Counter()
    for word in _WORDS.split():
        for a, b in pairwise(f"^{word}$"):
            pairs[a + b] += 1
            firsts[a] += 1
    smooth = 0.25
    table = {p: math.log((n + smooth) / (firsts[p[0]] + smooth * _ALPHABET)) for p, n in pairs.items()}
    return table, math.log(smooth / (200 + smooth * _ALPHABET))


@lru_cache(maxsize=1 << 12)  # labels that are asked about in a row
def strangeness(label: str) -> float:
    """How unlike a chosen name a label is, 0 to 1; one half for a label too short to tell apart.

    The mean log-probability of its letter pairs, where digits and hyphens count as a pair never seen, mapped so that
    words lie below 0.3 and random letters above 0.7.
    """
    letters = label.replace("-", "")
    if len(letters) < _SHORT:
        return 0.3
    table, unseen = _model()
    mean = math.fsum(table.get(a + b, unseen) for a, b in pairwise(f"^{letters}$")) / (len(letters) + 1)
    return round(1.0 / (1.0 + math.exp(3.0 * (mean + 3.35))), 4)
