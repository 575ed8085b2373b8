"""Graded sentence pairs for the demo's similarity task; every sentence was written for this project.

Most pairs are scenes: somebody does something to something, somewhere, at some time. The second sentence tells
the same scene, or one with known edits, in other words; the edits fix the score (COSTS). The rest are ladders:
a headline or an everyday statement with variants that were graded by hand.

Notation: ` = ` parts wordings of one meaning, ` | ` parts different meanings, a trailing * means plural.

    [topic outdoors]            "outdoors" adds the weather to the times; "animals" takes animals as actors
    places: in a park | ...
    gerund/participle : objects  the participle, where given, makes the passive; {o} is the object's place

Train and dev share no topic, actor, time or ladder, so dev measures generalisation, not memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeVar

TRAIN_SCENES = """
[kitchen]
places: in a kitchen = inside a kitchen | in a restaurant = inside a restaurant | at a market stall
slicing/sliced = cutting up/cut up : an onion | a cucumber | a loaf of bread | some carrots* = a few carrots*
stirring/stirred = using a spoon to mix : a pot of soup | a bowl of cake batter | a thick sauce
peeling/peeled = taking the skin off : a potato | an apple | some shrimps* = a few shrimps*
frying/fried = cooking {o} in a pan : an egg | some mushrooms* = a few mushrooms* | a piece of fish = a bit of fish
pouring = tipping : milk into a jug | oil into a bowl | flour into a bowl

[music]
places: on a stage = up on stage | in a small room | at a street corner = on the corner of a street
playing/played = making music on : a guitar | a flute | a piano | the drums*
tuning/tuned = adjusting the pitch of : a guitar | a violin = a fiddle | a harp
singing/sung = performing/performed : a love song | a lullaby = a song for children | an old folk song
listening to = paying close attention to : a choir | a jazz band | a recording of birds
conducting/conducted = leading/led : an orchestra | a brass band

[ball games outdoors]
places: on a field = on a pitch | on a beach = at the seaside | in a schoolyard = on a playground
throwing/thrown = tossing/tossed : a ball | a frisbee = a flying disc | a stone = a rock
kicking/kicked = striking {o} with one foot : a football | a tin can | a balloon
catching/caught = grabbing {o} out of the air : a ball | a frisbee = a flying disc
hitting/hit = striking/struck : a tennis ball | a volleyball

[transport outdoors]
places: on a country road = on a road in the country | on a busy street | near a roundabout = close to a roundabout
riding/ridden = travelling on : a bicycle = a bike | a motorcycle = a motorbike | a horse
driving/driven = steering/steered : a red car | a lorry = a truck | a bus full of people
pushing/pushed = shoving {o} forward : a broken car | a pram = a baby carriage | a shopping trolley
waiting for = standing around until {o} comes : a taxi = a cab | a bus

[water outdoors]
places: on a lake | on a wide river = on a broad river | near the coast = close to the shore
rowing/rowed = moving {o} with oars : a small boat | a wooden raft
paddling/paddled = steering {o} with a paddle : a canoe | a yellow kayak
repairing/repaired = mending/mended : a fishing net | a sail | a leaking boat = a boat with a hole
catching/caught = pulling {o} out of the water : a big fish = a large fish | a crab

[garden outdoors]
places: in a garden | behind a house = at the back of a house | on a farm
planting/planted = putting {o} into the soil : a tree | some tulips* = a few tulips* | some potatoes* = a few potatoes*
watering/watered = giving water to : the flowers* | a row of beans | a rose bush
cutting/cut = trimming/trimmed : the grass = the lawn | a hedge | some branches* = a few branches*
digging/dug = using a spade to make : a hole | a ditch = a trench
raking/raked = sweeping up/swept up : dead leaves* = fallen leaves* | hay

[reading and writing]
places: in a library | at a desk = at a writing desk | in a café = in a coffee shop
reading/read = looking through : a newspaper = a paper | a novel = a book of fiction | a map
writing/written = putting {o} on paper : a letter | a shopping list = a list of things to buy | a poem
drawing/drawn = sketching/sketched : a horse | a face | a castle
folding/folded = making creases in : a sheet of paper | a napkin

[repairs]
places: in a garage | in a workshop | in a basement = in a cellar
fixing/fixed = repairing/repaired : a bicycle = a bike | an engine = a motor | a wooden chair
painting/painted = putting paint on : a door | a wall | a fence
drilling/drilled = using a drill to make : a hole in a board | a row of holes
sawing/sawn = cutting {o} with a saw : a plank = a board | a metal pipe
hammering = driving {o} with a hammer : a nail into a wall | a peg into a beam

[office]
places: in an office | in a meeting room = in a conference room | at home
typing/typed = entering {o} on a keyboard : a report | an email = an electronic message | a password
answering/answered = picking up/picked up : the phone = the telephone
printing/printed = making a printout of : a contract | a photograph = a photo | two tickets*
discussing/discussed = talking about : the budget | a new product | the holiday plans*
signing/signed = putting a signature on : a contract | a birthday card

[shopping]
places: in a supermarket = in a grocery store | at a flea market | in a department store
buying/bought = purchasing/purchased : a pair of shoes | some fruit = a little fruit | an old lamp
paying for/paid for = handing over money for : the groceries* | a new coat
trying on/tried on = checking the fit of : a hat | a leather jacket | sunglasses*
carrying/carried = holding {o} in both arms : two heavy bags* | a cardboard box = a box made of cardboard

[sports and dance]
places: in a gym = in a sports hall | in front of an audience = before an audience | in a dance studio
lifting/lifted = raising/raised : a heavy weight | a dumbbell | a barbell
dancing/danced = performing/performed : a waltz | a tango
climbing/climbed = going up : a rope | a ladder | a practice wall
skipping = jumping rope
doing push-ups = exercising with push-ups

[household]
places: in a living room = in a sitting room | in an old house | in a hotel
washing/washed = cleaning/cleaned : a window | the floor | a pile of plates = a stack of plates
ironing/ironed = pressing {o} with an iron : a shirt | a tablecloth
vacuuming/vacuumed = using a vacuum cleaner on : the carpet = the rug | a sofa = a couch
making/made = tidying/tidied : the bed
hanging up/hung up = putting up/put up : a picture | some curtains* = a pair of curtains

[animals animals outdoors]
places: in a field | on a sandy path = on a path of sand | beside a pond = next to a pond
chasing/chased = running after : a ball | a rabbit | a butterfly
eating/eaten = feeding on : some grass = a little grass | an apple | a piece of meat
drinking/drunk = taking a drink of : water | milk
sleeping = taking a nap
carrying/carried = holding {o} in the mouth : a stick | a feather
lying down = stretching out on the ground

[winter outdoors]
places: on a mountain = on a mountainside | in a forest = in the woods | near a cabin = close to a hut
building/built = making/made : a snowman | an igloo = a house of snow
pulling/pulled = dragging/dragged : a sledge = a sled | a bundle of firewood
skiing = gliding along on skis
shovelling/shovelled = clearing away {o} with a shovel : fresh snow | gravel
"""

DEV_SCENES = """
[bakery]
places: in a bakery = at a baker's shop | next to an oven = beside an oven
kneading/kneaded = working {o} by hand : some dough | a lump of clay
decorating/decorated = adding icing to : a birthday cake | a tray of biscuits = a tray of cookies
weighing/weighed = putting {o} on the scales : some sugar | a bag of almonds
licking/licked = using the tongue to clean : a wooden spoon | an ice-cream cone

[photography outdoors]
places: on a bridge | in front of a cathedral = outside a cathedral | at a waterfall
photographing/photographed = taking a picture of : a swan | a statue | a bride and groom* = a newlywed couple
filming/filmed = shooting a video of : a parade | a street magician
admiring/admired = looking at {o} with delight : the view | the fireworks*
cleaning/cleaned = wiping/wiped : a camera lens | a pair of binoculars

[hospital]
places: in a hospital = at a hospital | in an ambulance
bandaging/bandaged = putting a bandage on : a wounded knee = an injured knee | a swollen hand
comforting/comforted = soothing/soothed : a crying child = a child in tears | a worried patient
measuring/measured = checking/checked : the temperature of a patient | the blood pressure of a visitor
swallowing/swallowed = taking/taken : a pill = a tablet | a spoonful of medicine

[crafts]
places: on a sofa | at a craft fair | on a balcony
knitting/knitted = making {o} out of wool : a scarf | a sweater = a jumper
sewing/sewn = stitching/stitched : a costume | a quilt = a patchwork blanket
carving/carved = cutting {o} out of wood : a toy horse | a spoon
polishing/polished = rubbing {o} until it shines : a silver ring | an antique clock = an old clock

[zoo animals animals outdoors]
places: at a zoo | behind a wire fence | in a large enclosure = inside a large enclosure
climbing/climbed = clambering up/clambered up : a tree | a pole
cracking/cracked = breaking open/broken open : a nut | an egg
bathing = taking a bath
scratching/scratched = scraping/scraped : the bark of a tree | a wooden post
"""

TRAIN_PEOPLE = """
a man = a guy | an old man = an elderly man | two men* = a pair of men* | five men*
a woman = a lady | a young woman = a woman in her twenties | two women* = a couple of women* | four women*
a boy = a young boy | a boy in a blue shirt = a boy wearing a blue shirt | two boys* = a pair of boys* | six boys*
a girl = a young girl | a girl in a red dress = a girl wearing a red dress | two girls* | three girls*
a child = a kid | several children* = a number of kids*
a chef = a cook | two chefs* = a pair of cooks*
a doctor = a physician | two doctors* = a pair of doctors*
a teacher = a schoolteacher | a few teachers* = some teachers*
a police officer = a member of the police
a painter = an artist | three painters* = a trio of artists*
a clown = a man dressed as a clown
a builder = a construction worker | some builders* = several construction workers*
"""

DEV_PEOPLE = """
a tourist = a sightseer | a pair of tourists* = two sightseers*
a teenager = an adolescent | three teenagers* = a trio of teenagers*
a grandmother = a granny | two grandmothers* = a couple of grannies*
a soldier = a man in uniform | a group of soldiers = a band of soldiers
a bearded man = a man with a beard
a nurse = a hospital nurse | four nurses*
a student = a university student | some students* = a few students*
"""

TRAIN_ANIMALS = """
a dog = a hound | a brown dog = a dog with brown fur | two dogs* = a pair of dogs* | three dogs*
a cat = a house cat | a black cat = a cat with black fur | two cats* = a couple of cats*
a horse = a brown horse | two horses* = a pair of horses*
a goat = a white goat | some goats* = a few goats*
a duck = a wild duck | six ducks* = half a dozen ducks*
a fox = a red fox
"""

DEV_ANIMALS = """
a monkey = a small ape | two monkeys* = a pair of monkeys*
a bear = a brown bear | three bears* = a trio of bears*
a parrot = a colourful parrot
an elephant = a huge elephant | two elephants* = a couple of elephants*
"""

TRAIN_TIMES = "in the morning = during the morning | in the afternoon = during the afternoon | at night = after dark"
TRAIN_WEATHER = (
    "in the rain = while it is raining | on a sunny day = in bright sunshine | in autumn = during the autumn"
)
DEV_TIMES = "at midday = at noon | at sunrise = as the sun is coming up | late in the evening = just before midnight"
DEV_WEATHER = "in thick fog = on a very foggy day | in a strong wind = on a very windy day"

TRAIN_LADDERS = """
The bank raised interest rates by half a point on Thursday.
5 On Thursday, the bank put up interest rates by half a percentage point.
4.2 The bank raised interest rates on Thursday.
3 The bank raised interest rates by two points on Thursday.
2.4 The bank cut interest rates by half a point on Thursday.
1 The bank opened three new branches this year.

Floods force two thousand people to leave their homes in the north.
5 Two thousand northern residents have to leave their houses because of flooding.
4 Floods force people in the north from their homes.
3 Forest fires force two thousand people in the north to leave their homes.
2 Heavy floods destroy a bridge in the south.
1 The north expects a dry summer.

The mayor opened a new bridge across the river yesterday.
5 Yesterday, a new bridge over the river was opened by the mayor.
4.2 The mayor has opened a new bridge.
3 The mayor opened a new hospital by the river yesterday.
2 The mayor closed the old bridge because of cracks.
1 The river is popular with swimmers in summer.

The home team won the final by three goals to one.
5 The final ended in a three-one victory for the home side.
4 The home team won the final.
2.6 The home team lost the final by three goals to one.
2 The home team won its first match of the season.
1 Tickets for the final cost forty pounds.

Scientists have found a new kind of frog in the rainforest.
5 A previously unknown species of frog was discovered by researchers in the rainforest.
4.2 Scientists have discovered a new frog.
3 Scientists have found a new kind of spider in the rainforest.
1.8 Scientists are worried about frogs dying of a disease.
1 The rainforest gets more than two metres of rain a year.

Train drivers will go on strike for two days next week.
5 Next week, there will be a two-day strike by train drivers.
4 Train drivers plan to strike next week.
3 Bus drivers will go on strike for two days next week.
2.2 Train drivers have called off their strike.
1 A new train line will open next year.

The museum was robbed of a valuable painting during the night.
5 Overnight, thieves stole a precious painting from the museum.
4 A painting was stolen from the museum.
3 The museum was robbed of ancient coins during the night.
2 The museum has bought a valuable painting.
1 The museum offers guided tours on weekends.

An earthquake shook the capital early on Monday.
5 Early Monday, the capital was shaken by an earthquake.
4 An earthquake struck the capital.
3 An earthquake shook a small island early on Monday.
2 A storm damaged several roofs in the capital.
0.8 The capital has a population of three million.

The company will close its oldest factory and cut three hundred jobs.
5 Three hundred jobs will be lost as the firm shuts its oldest plant.
4 The company is going to shut its oldest factory.
2.6 The company will open a factory and create three hundred jobs.
1.8 The company reported higher profits than last year.
1 Workers at the factory make engines for ships.

Parliament passed a law banning plastic bags.
5 A ban on plastic bags was approved by parliament.
4 Parliament voted on plastic bags and decided against them.
3 Parliament passed a law banning plastic bottles.
2.2 Parliament rejected a law banning plastic bags.
1 Plastic bags take centuries to break down.

A fire destroyed a warehouse near the harbour, but nobody was hurt.
5 Nobody was injured when a warehouse close to the harbour burned down.
4 A warehouse near the harbour burned down.
3 A fire destroyed a warehouse near the harbour, and four people were hurt.
2 A fire broke out in a school kitchen.
0.8 The harbour is the largest in the country.

The pilot landed the plane safely after one engine failed.
5 Despite the failure of one engine, the aircraft was brought down safely by its pilot.
4.2 The pilot managed to land after an engine failure.
3 The pilot landed the plane safely after a tyre burst.
2 The plane took off late because of an engine problem.
1 The airline has bought ten new planes.

A nine-year-old girl has won the national spelling competition.
5 The country's spelling contest was won by a girl aged nine.
4 A young girl has won a spelling competition.
3 A nine-year-old girl has won the national chess championship.
2 A spelling competition will be held at the school.
1 Many pupils find spelling difficult.

Petrol prices fell for the third week in a row.
5 For three weeks running, the price of petrol has gone down.
4.2 Petrol prices are falling.
2.4 Petrol prices rose for the third week in a row.
2 The price of bread fell slightly this month.
1 More drivers are buying electric cars.

My brother lives in a small flat near the station.
5 My brother's home is a little apartment close to the station.
4 My brother lives near the station.
3 My brother lives in a large house near the station.
2.4 My sister works in a small shop near the station.
1 The station was built last century.

She bought a second-hand car because her old one broke down.
5 As her old car had stopped working, she purchased a used one.
4 She bought a used car.
3 She bought a brand-new car because her old one broke down.
2 She sold her car and rides a bike now.
1 Her car is parked behind the house.

We are having dinner with my parents on Saturday evening.
5 On Saturday night, we will eat dinner with my mum and dad.
4.1 We are having dinner with my parents this weekend.
3 We are having lunch with my parents on Sunday.
2 My parents are going to the theatre on Saturday evening.
0.8 My parents have been married for thirty years.

The library closes at six o'clock on weekdays.
5 From Monday to Friday, the library shuts at six.
4 The library closes at six.
3 The library closes at nine o'clock on weekdays.
2.6 The library opens at six o'clock on weekdays.
1 The library has a large collection of maps.

I forgot my umbrella on the bus this morning.
5 This morning I left my umbrella behind on the bus.
4.1 I left my umbrella on the bus.
3 I forgot my gloves on the bus this morning.
2 I missed the bus this morning.
0.8 It rained a lot last week.

He drinks two cups of tea before work every day.
5 Every day before going to work, he has two cups of tea.
4.2 He drinks tea before work every day.
3.2 He drinks two cups of coffee before work every day.
2 He eats a sandwich at work every day.
0.8 Tea is grown in warm and wet countries.

Their daughter is studying law at a university abroad.
5 Their daughter is a law student at a foreign university.
4 Their daughter is studying abroad.
3 Their daughter is studying medicine at a university abroad.
2 Their daughter works as a lawyer in the city.
1 The university has a famous old library.

The recipe needs four eggs and a cup of sugar.
5 You need a cup of sugar and four eggs for this recipe.
4.2 The recipe needs eggs and sugar.
3.2 The recipe needs one egg and two cups of sugar.
2 The recipe needs half a litre of cream.
0.8 The hens lay fewer eggs in winter.

The dog next door barks whenever the postman comes.
5 Each time the mail carrier arrives, our neighbour's dog barks.
4 The dog next door often barks at the postman.
3 The dog next door hides whenever the postman comes.
2 The dog next door likes to sleep in the sun.
1 The postman delivers letters before ten.

Most of the students walked to school although it was snowing.
5 In spite of the snow, the majority of pupils went to school on foot.
4 Most of the students walked to school.
3 Most of the students took the bus because it was snowing.
2 The school was closed because of the snow.
0.8 The students are writing an exam in history.

The children were too tired to finish their homework.
5 The kids could not complete their homework because they were so tired.
4 The children did not finish their homework.
2.6 The children finished their homework although they were tired.
2 The children were too tired to play outside.
1 The teacher gives homework twice a week.

My phone stopped working after it fell into the water.
5 After being dropped in water, my phone no longer worked.
4 My phone doesn't work any more.
3 My watch stopped working after it fell into the water.
2.2 My phone still works after it fell into the water.
1 I bought a new phone for my mother.

You should drink plenty of water when it is hot.
5 In hot weather it is important to drink a lot of water.
4 You should drink plenty of water.
3 You should wear a hat when it is hot.
2 You should not swim in cold water.
0.8 Plants need water and light.

Nobody answered when I knocked on the door.
5 I knocked at the door, but there was no reply.
4 Nobody came to the door.
2.8 An old man answered when I knocked on the door.
2 I knocked on the door to complain about the noise.
0.6 The door needs a new coat of paint.

The hotel has a pool, but it is closed in winter.
5 There is a swimming pool at the hotel that does not open during the winter.
4 The hotel has a pool that is not always open.
3 The hotel has a pool, and it is open all year.
2 The hotel has a restaurant with a view of the sea.
1 The hotel is near the airport.

He was late because the road was blocked by a fallen tree.
5 A tree had fallen across the road, which made him arrive late.
4 He was late because the road was blocked.
3 He was late because his alarm did not ring.
2 A fallen tree damaged his car.
0.8 He planted a tree in front of the house.

Unemployment dropped to its lowest level in ten years.
5 The jobless rate fell to a ten-year low.
4 Unemployment has dropped.
2.4 Unemployment rose to its highest level in ten years.
2 Wages rose for the first time in ten years.
1 The government wants to train more young people.

A rare white lion was born at a safari park.
5 A safari park has seen the birth of a rare white lion.
4 A lion was born at a safari park.
3 A rare white lion has escaped from a safari park.
2 Two elephants were born at a safari park.
1 The safari park raised its ticket prices.

Doctors advise parents to let children play outdoors more.
5 Parents should have their kids play outside more often, doctors say.
4 Doctors say that playing outdoors is good for children.
3 Doctors advise parents to let children sleep longer.
2 Doctors warn parents of a dangerous toy.
1 A new playground was opened in the park.

The singer cancelled her tour because of a throat infection.
5 Because she had an infected throat, the singer called off her tour.
4 The singer cancelled her tour.
3 The singer cancelled her tour because few tickets were sold.
2.2 The singer began her tour in spite of a throat infection.
1 The singer's first album was recorded at home.

The village has been without electricity since the storm.
5 Since the storm, there has been no power in the village.
4 The village has no electricity.
3 The village has been without drinking water since the storm.
2 The storm blew the roof off the village church.
0.8 The village lies in a narrow valley.

The court sentenced the driver to two years in prison.
5 Two years in prison was the sentence that the driver got from the court.
4 The court sent the driver to prison.
3 The court sentenced the driver to a small fine.
2 The court heard three witnesses in the case of the driver.
1 Two prisoners escaped from the courthouse.

It is cheaper to repair the roof than to replace it.
5 Mending the roof costs less than getting a new one.
4 Repairing the roof is not that expensive.
2.4 It is cheaper to replace the roof than to repair it.
2 The roof was repaired last summer.
0.8 A bird has built its nest on the roof.

I have not seen my cousin since her wedding.
5 The last time I saw my cousin was when she got married.
4 I have not seen my cousin for a long time.
3 I have not seen my uncle since his wedding.
2 I danced with my cousin at her wedding.
1 My cousin lives on a farm.
"""

DEV_LADDERS = """
The airline has apologised for losing the luggage of eighty passengers.
5 Eighty passengers whose bags went missing received an apology from the airline.
4 The airline apologised for lost luggage.
3 The airline has apologised for the long delay of eighty passengers.
2 The airline allows its passengers one piece of luggage.
1 The airline has hired more pilots.

A sculpture by a local artist was unveiled in the town square.
5 In the town square, a local artist's sculpture was presented to the public.
4 A new sculpture stands in the town square.
3 A sculpture by a local artist was stolen from the town square.
2 A local artist is teaching a class in the town hall.
1 The town square is full of pigeons.

The farmers expect a poor harvest because of the drought.
5 Due to the lack of rain, the farmers think that the harvest will be bad.
4 The farmers expect a poor harvest.
3 The farmers expect a rich harvest because of the mild spring.
2 The drought has emptied the reservoirs.
1 The farmers sell cheese at the market.

The minister resigned after a week of protests.
5 After protests that lasted a week, the minister stepped down.
4 The minister has resigned.
2.8 The minister refused to resign after a week of protests.
2 The minister met a group of protesters.
1 The ministry moved into a new building.

A swimmer broke the world record over one hundred metres.
5 The world record for the hundred metres was beaten by a swimmer.
4 A swimmer set a new record.
3 A sprinter broke the world record over one hundred metres.
2 A swimmer was banned for breaking the rules.
1 The pool is fifty metres long.

The bakery sells out of croissants before nine every morning.
5 Each morning, there are no croissants left at the bakery by nine.
4 The bakery sells out of croissants early.
3 The bakery sells out of rye bread before nine every morning.
2 The bakery opens at half past six every morning.
1 Croissants contain a lot of butter.

My grandfather taught me how to play chess.
5 I learned to play chess from my grandfather.
4 Someone in my family taught me chess.
3 My grandfather taught me how to swim.
2 I lost a game of chess against my neighbour.
1 My grandfather has a white beard.

The meeting was postponed until Friday because the manager is ill.
5 As the manager is sick, the meeting has been put off until Friday.
4.2 The meeting was postponed until Friday.
3 The meeting was postponed until Friday because the manager is on holiday.
2 The manager is ill and will stay in bed until Friday.
1 The meeting room is on the third floor.

She speaks three languages but has never left her country.
5 Although she can speak three languages, she has never been abroad.
4 She speaks three languages.
3 She speaks three languages and has travelled to many countries.
2 She is learning a new language for her job abroad.
1 The country has two official languages.

The cat jumped on the table and knocked over a vase.
5 A vase was knocked over when the cat leapt onto the table.
4 The cat knocked over a vase.
3 The cat jumped on the shelf and knocked over a lamp.
2 The cat jumped on the bed and fell asleep.
1 There are fresh flowers in the vase.

There are no tickets left for tonight's performance.
5 Tonight's show is sold out.
4 It is hard to get tickets for tonight's performance.
2.6 There are still plenty of tickets left for tonight's performance.
2 Tonight's performance starts half an hour later.
1 The theatre is looking for new actors.

Our neighbours grow their own vegetables behind the garage.
5 Behind their garage, the people next door raise vegetables of their own.
4 Our neighbours grow vegetables.
3 Our neighbours keep chickens behind the garage.
2 Our neighbours buy their vegetables at the market.
1 Our garage is too small for two cars.
"""

# What an edit takes off the full score of 5; "family" is the same kind of actor with another number or feature.
COSTS = {
    "no time": 0.5,
    "no place": 0.6,
    "family": 0.8,
    "time": 0.9,
    "place": 1.1,
    "actor": 1.4,
    "object": 1.6,
    "action": 2.4,
}

# Which edits come together, and how often.
PLANS: list[tuple[tuple[str, ...], int]] = [
    ((), 20),
    (("no time",), 4),
    (("no place",), 4),
    (("family",), 6),
    (("time",), 6),
    (("place",), 6),
    (("actor",), 8),
    (("object",), 9),
    (("family", "no place"), 3),
    (("time", "place"), 4),
    (("object", "family"), 3),
    (("object", "place"), 5),
    (("actor", "object"), 6),
    (("action",), 8),
    (("action", "place"), 6),
    (("action", "actor"), 7),
    (("action", "actor", "place", "time"), 8),
    (("topic",), 18),
]

SAME_TOPIC = 1.0
UNRELATED = 0.1
NOISE = (-0.2, -0.1, 0.0, 0.0, 0.1, 0.2)

T = TypeVar("T")
Meaning = tuple[str, ...]  # the wordings of one thing, all interchangeable
Family = list[Meaning]  # the same kind of actor: alone, in numbers, with a feature


@dataclass(frozen=True)
class Action:
    """Something to do: its wordings and what it can be done to (nothing, for "sleeping")."""

    verbs: Meaning
    objects: tuple[Meaning, ...]


@dataclass
class Topic:
    """Actions that go together, and where, when and by whom they are done."""

    families: list[Family]
    times: list[Meaning]
    places: list[Meaning] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)


@dataclass(frozen=True)
class Scene:
    """One thing happening. None stands for what the sentence leaves out."""

    topic: Topic = field(repr=False, compare=False)
    family: Family = field(repr=False, compare=False)
    actor: Meaning
    action: Action
    object: Meaning | None
    place: Meaning | None
    time: Meaning | None


@dataclass
class Ladder:
    """A sentence and its variants with their scores."""

    base: str
    variants: list[tuple[float, str]]


@dataclass
class Material:
    """The building blocks of one split."""

    topics: list[Topic]
    ladders: list[Ladder]


def meanings(text: str) -> list[Meaning]:
    """Read "a = b | c" as [(a, b), (c,)]."""
    return [tuple(part.strip().split(" = ")) for part in text.split(" | ")]


def families(block: str) -> list[Family]:
    """Read a block with one family of actors a line."""
    return [meanings(line) for line in block.strip().splitlines()]


def parse_topics(block: str, people: list[Family], animals: list[Family], times: str, weather: str) -> list[Topic]:
    """Read a block in the notation of this module's docstring."""
    topics = []
    for paragraph in block.strip().split("\n\n"):
        head, places, *actions = paragraph.splitlines()
        flags = head.strip("[]").split()[1:]
        topic = Topic(
            families=animals if "animals" in flags else people,
            times=meanings(times) + (meanings(weather) if "outdoors" in flags else []),
            places=meanings(places.removeprefix("places: ")),
        )
        for line in actions:
            verbs, _, objects = line.partition(" : ")
            topic.actions.append(Action(tuple(verbs.split(" = ")), tuple(meanings(objects)) if objects else ()))
        topics.append(topic)
    return topics


def parse_ladders(block: str) -> list[Ladder]:
    """Read ladders: a sentence, then a score and a variant a line."""
    ladders = []
    for paragraph in block.strip().split("\n\n"):
        base, *variants = paragraph.splitlines()
        ladders.append(Ladder(base, [(float(line.split(" ", 1)[0]), line.split(" ", 1)[1]) for line in variants]))
    return ladders


TRAIN = Material(
    parse_topics(TRAIN_SCENES, families(TRAIN_PEOPLE), families(TRAIN_ANIMALS), TRAIN_TIMES, TRAIN_WEATHER),
    parse_ladders(TRAIN_LADDERS),
)
DEV = Material(
    parse_topics(DEV_SCENES, families(DEV_PEOPLE), families(DEV_ANIMALS), DEV_TIMES, DEV_WEATHER),
    parse_ladders(DEV_LADDERS),
)


def another(rng: Random, options: Sequence[T], current: T | None) -> T:
    """Choose any option but the current one."""
    return rng.choice([option for option in options if option != current])


def new_scene(rng: Random, topic: Topic) -> Scene:
    """Draw a scene that leaves nothing out."""
    family = rng.choice(topic.families)
    action = rng.choice(topic.actions)
    return Scene(
        topic=topic,
        family=family,
        actor=rng.choice(family),
        action=action,
        object=rng.choice(action.objects) if action.objects else None,
        place=rng.choice(topic.places),
        time=rng.choice(topic.times),
    )


def allows(scene: Scene, plan: Sequence[str]) -> bool:
    """Say whether there is another object or another member of the family, where the plan needs one."""
    needs_object, needs_actor = "object" in plan, "family" in plan
    return not (needs_object and len(scene.action.objects) < 2) and not (needs_actor and len(scene.family) < 2)


def edited(rng: Random, scene: Scene, edit: str) -> Scene:
    """Carry out one of the edits named in COSTS."""
    topic = scene.topic
    if edit == "no time":
        return replace(scene, time=None)
    if edit == "no place":
        return replace(scene, place=None)
    if edit == "family":
        return replace(scene, actor=another(rng, scene.family, scene.actor))
    if edit == "time":
        return replace(scene, time=another(rng, topic.times, scene.time))
    if edit == "place":
        return replace(scene, place=another(rng, topic.places, scene.place))
    if edit == "actor":
        family = another(rng, topic.families, scene.family)
        return replace(scene, family=family, actor=rng.choice(family))
    if edit == "object":
        return replace(scene, object=another(rng, scene.action.objects, scene.object))
    action = another(rng, topic.actions, scene.action)
    return replace(scene, action=action, object=rng.choice(action.objects) if action.objects else None)


def scene_pair(rng: Random, material: Material) -> tuple[str, str, float]:
    """Tell a scene and its edited copy; time and place are often left out of both where no edit needs them."""
    (plan,) = rng.choices([edits for edits, _ in PLANS], weights=[weight for _, weight in PLANS])
    scene = new_scene(rng, rng.choice(material.topics))
    while not allows(scene, plan):
        scene = new_scene(rng, rng.choice(material.topics))
    if not any("time" in edit for edit in plan) and rng.random() < 0.5:
        scene = replace(scene, time=None)
    if not any("place" in edit for edit in plan) and rng.random() < 0.3:
        scene = replace(scene, place=None)
    if plan == ("topic",):
        other = unrelated(rng, material, scene)
        return told(rng, scene), told(rng, other), UNRELATED
    other = scene
    for edit in plan:
        other = edited(rng, other, edit)
    return told(rng, scene), told(rng, other), max(SAME_TOPIC, 5.0 - sum(COSTS[edit] for edit in plan))


def unrelated(rng: Random, material: Material, scene: Scene) -> Scene:
    """Draw a scene of another topic with another actor, as long as the given one."""
    other = new_scene(rng, another(rng, material.topics, scene.topic))
    while other.family == scene.family:
        other = new_scene(rng, other.topic)
    return replace(other, time=scene.time and other.time, place=scene.place and other.place)


def told(rng: Random, scene: Scene) -> str:
    """Write a scene as a sentence, in one of its wordings and word orders."""
    actor, be = worded(rng, scene.actor)
    verb = rng.choice(scene.action.verbs)
    gerund, _, participle = verb.partition("/")
    core = f"{actor} {be} {gerund}"
    if scene.object:
        thing, thing_be = worded(rng, scene.object)
        doing = gerund.replace("{o}", thing) if "{o}" in gerund else f"{gerund} {thing}"
        core = f"{actor} {be} {doing}"
        if participle and rng.random() < 0.3:
            core = f"{thing} {thing_be} being {participle} by {actor}"
        elif be == "is" and rng.random() < 0.15:  # not "there are a pair of men"
            core = f"there is {actor} {doing}"
    adjuncts = [rng.choice(meaning) for meaning in (scene.place, scene.time) if meaning]
    front = adjuncts.pop() + ", " if adjuncts and rng.random() < 0.35 else ""
    text = front + " ".join([core, *adjuncts]) + "."
    return text[0].upper() + text[1:]


def worded(rng: Random, meaning: Meaning) -> tuple[str, str]:
    """Choose a wording and the form of "to be" that goes with it."""
    wording = rng.choice(meaning)
    return wording.rstrip("*"), "are" if wording.endswith("*") else "is"


def ladder_pairs(rng: Random, ladders: list[Ladder]) -> list[tuple[str, str, float]]:
    """Pair each ladder's sentence with its variants, and with something from another ladder."""
    pairs = []
    for ladder in ladders:
        pairs += [(ladder.base, text, score) for score, text in ladder.variants]
        stranger = another(rng, ladders, ladder)
        pairs.append((ladder.base, rng.choice(stranger.variants)[1], UNRELATED))
    return pairs


def rows(rng: Random, split: str, count: int) -> list[tuple[str, str, str]]:
    """Write `count` different (sentence1, sentence2, similarity) rows in mixed order."""
    material = TRAIN if split == "train" else DEV
    pairs = {frozenset(pair[:2]): pair for pair in ladder_pairs(rng, material.ladders)}
    while len(pairs) < count:
        first, second, score = scene_pair(rng, material)
        if first != second:
            pairs.setdefault(frozenset((first, second)), (first, second, score))
    graded = list(pairs.values())
    rng.shuffle(graded)
    result = []
    for first, second, score in graded:
        noisy = min(5.0, max(0.0, score + rng.choice(NOISE)))
        left, right = rng.sample((first, second), 2)
        result.append((left, right, f"{noisy:.1f}"))
    return result
