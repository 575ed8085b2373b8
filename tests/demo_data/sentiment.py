"""Opinions and plain statements for the demo's sentiment task; every sentence was written for this project.

One block per domain. The mark at the start of a line says what the clause is:

    things:  noun phrases for the templates below; a trailing * means plural
    + - =    a positive, a negative, a neutral clause
    ~+ ~-    a mild one, used as the concession in "..., but ..."

A clause that ends in a mark (".", "?", "!") is never joined to another one: it has no verb, or asks.

Train and dev share no domain, template, opener or verdict, so dev measures generalisation, not memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Generic, TypeVar

LABELS = ("negative", "neutral", "positive")
MARKS = {"-": "negative", "=": "neutral", "+": "positive"}
MARKED = ".?!"

TRAIN_DOMAINS = """
[restaurant]
things: the soup | the waiters* | the lunch menu | the desserts*
+ the lamb fell off the bone and the sauce was full of flavour
+ our waitress remembered our names and made us feel at home
+ my brother calls it "the best noodle bar in town", and he is right
+ where else do you get dumplings as good as these?
+ even the simple green salad was a joy to eat
+ every dish came out hot, fresh and beautifully seasoned
+ we were too full for dessert, ordered it anyway and regret nothing
+ it has never let us down in ten years of birthdays
- we waited an hour for pasta that arrived cold and sticky
- the waiter rolled his eyes when I asked for tap water
- the fish smelled off and nobody apologised
- they charged us for bread that nobody had ordered
- the "home-made" lasagne was still frozen in the middle
- how can a kitchen ruin plain rice?
- nobody at our table finished their plate, and that says it all
- I was sick all night after the mussels
= the kitchen closes at half past nine on Sundays
= we sat by the window and ordered two soups and a salad
= the menu lists six starters and eight main courses
= can you book a table for eight by phone?
= the restaurant is on the corner, next to the pharmacy
= they serve lunch from noon until three
= my uncle had the fish and my aunt had the risotto
~+ the bread was nice
~+ the dining room looked pretty
~- the portions were on the small side
~- the chairs were a bit hard

[film]
things: the script | the two leads* | the soundtrack | the final scene
+ I laughed until my stomach hurt
+ two hours flew by and I wanted to watch it again straight away
+ the acting is superb and the ending gave me goosebumps
+ you will not find a warmer, funnier family film this year
+ it is a small masterpiece, told with humour and heart
+ I expected nothing and walked out grinning
+ when did I last cry with laughter like that?
+ the car chase alone is worth the ticket
- I walked out after forty minutes because nothing made sense
- the jokes fall flat and the dialogue sounds written by a machine
- it is three hours long and feels like six
- the trailer showed every good moment, and there were only two
- the dialogue made me cringe from beginning to end
- who on earth thought this was funny?
- I have rarely been so bored in a cinema
- the hero is so unpleasant that I hoped he would lose
- they ruined a wonderful novel
= the film is set in Lisbon in the nineteen sixties
= it runs for one hundred and ten minutes with no interval
= the sequel comes out in November
= is it showing with subtitles on Tuesday?
= the director also wrote the screenplay
= the nurse in the film is called Marta
= we saw the early showing and took the bus home
= the story follows a nurse who moves to an island
~+ the costumes were pretty
~+ the opening had some charm
~- the middle part dragged a little
~- one or two jokes were old

[phone]
things: my new phone | the camera | the battery | the speakers*
+ the screen is gorgeous and everything opens in a blink
+ the battery easily lasts two days, which still amazes me
+ it survived a fall down the stairs without a scratch
+ photos taken at night come out bright and sharp
+ setting it up took five minutes and just worked
+ best phone I have ever owned, and not even the dearest.
+ the sound is so clear that I sold my old speaker
- it freezes every time I try to make a call
- the battery is dead by lunchtime even when I hardly touch it
- the screen cracked in my pocket during the first week
- it gets so hot that I can't hold it
- the last update broke the camera and support never answered
- calls drop constantly, which makes it useless for work
- I paid a fortune for a phone that can't keep a signal
= the phone comes in black, white and green
= it has two cameras on the back and one on the front
= you charge it with the same cable as the older model
= which case did you buy for it?
= the box contains the phone, a cable and a small manual
= the new model weighs about the same as the old one
= I moved my contacts over on Saturday afternoon
~+ it looks elegant
~+ the price was fair
~- the buttons are slightly stiff
~- it is a touch heavy

[hotel]
things: the room | the beds* | the breakfast buffet | the front desk
+ we slept like babies in the softest bed imaginable
+ the receptionist upgraded us to a sea view without being asked
+ can we please live there forever?
+ breakfast was a feast and the coffee kept coming
+ spotless rooms, friendly people, a lovely quiet garden.
+ we did not want to leave, and neither did the children
+ the pool at sunset was pure magic
+ everything we asked for was done with a smile
- does nobody ever clean these rooms?
- there was mould in the shower and hair on the pillow
- the walls are so thin that we heard every word from next door
- our booking had vanished and nobody cared
- the air conditioning rattled all night and we hardly slept
- the photos online have nothing to do with the shabby room we got
- we found insects in the bed and left the same night
- they kept our deposit for damage we had not done
= check-in starts at three in the afternoon
= our room was on the fourth floor, facing the car park
= the hotel has eighty rooms and one lift
= does the price include breakfast?
= we stayed for two nights on the way to Vienna
= the key card also opens the side entrance
= towels are changed every other day
~+ the lobby smelled lovely
~+ the location was handy
~- the lift was rather slow
~- the towels were a little thin

[book]
things: the plot | the first chapter | the characters* | the translation
+ I stayed up until three because I could not put it down
+ why did nobody tell me earlier about this marvellous book?
+ her prose is so beautiful that I read whole pages aloud
+ it made me laugh and cry on the same page
+ I have already bought copies for all my friends
+ the clearest introduction to astronomy I have come across.
+ the last chapter moved me more than I can say
+ I finished it on Sunday and miss the characters already
- I gave up after fifty pages of clumsy, lifeless prose
- the twist is obvious from the first page
- the author repeats the same point until you want to scream
- it is full of errors that any editor should have caught
- not a single character behaves like a real person
- I want those ten evenings of my life back
- a dull book about a fascinating subject, which is a real pity.
= the book has twelve chapters and an index
= it was first published in Norwegian
= I borrowed it from the library on Thursday
= is there a paperback edition?
= the second volume begins where the first one ends
= the author teaches history in Leeds
= each chapter opens with a short letter
~+ the cover is attractive
~+ the idea was clever
~- the print is a bit small
~- the first pages were slow

[app]
things: the search function | the latest update | the reminders* | the free version
+ it saves me an hour every week and I use it daily
+ the design is clean, quick and a pleasure to use
+ syncing between my tablet and my laptop has been flawless
+ the developers fixed my bug within a day, amazing
+ finally a budget app that I actually enjoy opening.
+ I never miss an appointment any more thanks to it
+ no adverts, no nonsense, it simply does its job brilliantly.
- how many more times will it lose my data?
- it crashes whenever I open a second window
- the latest version deleted all of my notes
- they hid the cancel button and kept charging my card
- full of adverts that cover half the screen.
- logging in fails four times out of five
- it used to be good, now it is slow and bloated
- the "help" page is a joke and nobody answers emails
= the app needs about sixty megabytes of space
= the app works in Danish, Dutch and German
= you can sort the list by date or by name
= version four adds a dark mode
= where do I change the language?
= it sends a code to your phone when you log in
= the settings are under the three dots
= I installed it on my tablet this morning
~+ the icons are cute
~+ it starts up quickly
~- the menus take some getting used to
~- the colours are a bit loud

[train journey]
things: the night train | the conductor | the seats* | the ticket machine
+ the view from the window was breathtaking all the way
+ we left on the dot and arrived two minutes early
+ a quiet, comfortable ride that beats flying any day.
+ the conductor helped my grandmother with her bags and was charming
+ clean carriages, plenty of room and decent tea, what a treat.
+ I have commuted on this line for years and still love it
+ changing trains was effortless thanks to the helpful staff
- why are these trains never, ever on time?
- two hours late and not one announcement.
- we stood in the aisle the whole way although we had reserved seats
- the toilets were filthy and out of paper
- the heating was broken and I was frozen by the time we arrived
- we missed our connection and were left stranded at midnight
- another cancelled train, another ruined morning.
- the ticket inspector was rude to a frightened child
= the train to Bristol leaves from platform six
= the journey takes two hours and ten minutes
= we changed at Cologne and had a sandwich there
= does this train stop at the airport?
= the dining car is between coaches four and five
= tickets can be bought online or at the counter
= the line was built over a hundred years ago
~+ the seats were comfortable
~+ the fare was reasonable
~- the carriage was slightly crowded
~- the tea was lukewarm

[course]
things: the teacher | the exercises* | the first lecture | the weekly feedback
+ the teacher explains hard ideas so well that I looked forward to every class
+ after six weeks I could hold a conversation in Spanish, which thrilled me
+ the feedback on my essays was generous and incredibly useful
+ I learned more here than in a whole year at school
+ well organised, inspiring and worth every penny.
+ I was afraid of statistics and now I love it
+ the group was lively and nobody felt left out
- the lecturer read from his slides for three hours
- half the videos would not play and nobody fixed them
- I learned nothing that is not in the free brochure
- the exam had little to do with what we were taught
- my questions were never answered, which was frustrating
- badly prepared, overpriced and painfully boring.
- I dropped out after the teacher mocked a student
= the course starts on the second of March
= there are ten lessons of ninety minutes each
= homework is handed in on Fridays
= who teaches the evening class?
= the certificate is sent by post
= twelve people have signed up so far
= we covered the past tense this week
~+ the handouts were neat
~+ the topic sounded interesting
~- the classroom was a bit stuffy
~- the pace was slightly slow

[coffee shop]
things: the espresso | the carrot cake | the baristas* | the terrace
+ who could resist a cinnamon bun like that?
+ the flat white here makes my whole day better
+ cosy corner, gentle music and the best cinnamon buns around.
+ the owner roasts the beans himself and you can taste the love
+ I could sit here for hours, and often do
+ never had a bad cup here, not once.
+ the hot chocolate tastes like childhood
+ such kind people behind the counter.
- the coffee tasted burnt and the milk was sour
- six euros for a stale croissant is an insult
- sticky tables, loud music and a barista who ignored me.
- I would rather drink from a puddle
- they got my order wrong twice and then blamed me
- the place smells of drains
- they gave our table away while I was washing my hands
- my tea came in a dirty cup with lipstick on it
= they open at seven and close at four
= I ordered a black coffee and a glass of water
= the café is inside the bookshop, on the first floor
= do they have oat milk?
= a small cup costs the same as last year
= there are five tables inside and two outside
= she drinks her tea with lemon
~+ the mugs are lovely
~+ the music was pleasant
~- the queue was a bit long
~- the stools wobble a little

[repair shop]
things: the mechanic | the repair | the quote | the spare parts*
+ they fixed my bike while I waited and charged next to nothing
+ honest people who told me I did not need a new engine.
+ my old radio sounds better now than the day I bought it
+ quick, careful and polite, I could not ask for more.
+ my watch is ticking again after twenty years in a drawer, I could hug them
+ she explained every step and saved me a lot of money
+ the brakes feel like new, I am delighted
+ I trust them completely and send all my friends there
- they had my car for three weeks and gave it back with the same fault
- the bill was double the estimate and they refused to explain it
- two days later the chain came off again
- they scratched the door and denied it to my face
- I was lied to about a part that was never replaced
- nobody picks up the phone and nobody calls back
- my laptop came back with a broken hinge
= the garage is behind the petrol station
= I left the car there at eight this morning
= they replaced the tyre and checked the oil
= how long does a new screen take?
= the repair took two days
= please bring the receipt when you collect it
= they also sell second-hand bicycles
~+ the waiting room was tidy
~+ the price was fair
~- it took a day longer than planned
~- parking there is a bit awkward

[laptop]
things: the keyboard | the screen | the fan | the hinges*
+ it boots in seconds and handles everything I throw at it
+ the keyboard is a dream to type on
+ silent, light and astonishingly fast.
+ three years old and still runs like the first day.
+ my daughter adores it and does all her homework on it
+ video calls with my grandchildren are crisp and never break up
+ no regrets, this machine is worth the money.
+ the display is so crisp that my eyes no longer hurt
- the fan screams like a jet engine
- the touchpad jumps around and drives me mad
- it died one week after the guarantee ran out
- the hinge snapped and the shop just shrugged
- painfully slow, even for reading emails.
- blue screens every single day, I am fed up.
- cheap plastic that creaks whenever you breathe on it.
= it has three ports on the left side
= the laptop weighs just over a kilo
= my sister uses hers for accounting
= how much memory does it have?
= it ships with a one-year guarantee
= the charger plugs in at the back
= I chose the smaller of the two models
~+ the case looks smart
~+ the speakers are decent
~- the charger is a bit bulky
~- the webcam is only so-so

[online shop]
things: the parcel | the packaging | the return process | the delivery people*
+ ordered on Monday, wrapped like a present, here on Tuesday, fantastic.
+ the wrong size came, and they swapped it free of charge within a day
+ the quality is far beyond what I paid
+ customer service treated me like a friend
+ this is my fifth order and every one has been perfect
+ they slipped in a handwritten thank-you card, so sweet
+ the lamp looks even prettier than in the pictures
- the parcel was thrown over the fence and everything inside broke
- I am still waiting for a refund after two months
- the jumper fell apart in the first wash
- what arrived looks nothing like the picture
- they ignored five emails and then closed my complaint
- a scam, plain and simple, stay away.
- half of the screws were missing and the instructions were useless
= the parcel was left with a neighbour
= orders placed before noon are sent the same day
= I ordered two blue cushions and one grey one
= can I pay by invoice?
= the shop ships to eleven countries
= returns are accepted within thirty days
= the tracking page says it is in Rotterdam
~+ delivery was quick
~+ the box was sturdy
~- the colour is slightly off
~- the tracking page was a bit vague

[concert]
things: the band | the sound | the singers* | the second half
+ the crowd sang every word and I had tears in my eyes
+ the violinist was breathtaking, I forgot to breathe
+ they played for three hours and nobody wanted to go home
+ one of the happiest nights of my life.
+ the choir filled the church with the most heavenly sound
+ even my grumpy father was dancing, that is how good it was
+ crystal-clear sound and a band on top form.
- the singer was an hour late and clearly did not want to be there
- the sound was so muddy that I could not make out a word
- they played four songs and left, what a rip-off
- a tall man blocked my view and the guards shouted at us
- my ears are still ringing and not in a good way
- the pianist hit wrong notes all evening and it was painful to hear
- we paid eighty pounds to stare at a pillar
= the concert begins at eight and the doors open at seven
= they played two pieces by Haydn and one by a living composer
= our seats were in row fourteen
= is there a cloakroom at the hall?
= the band has five members
= the tour ends in Oslo in June
= the programme was printed on yellow paper
~+ the lights were pretty
~+ the opening act was pleasant
~- the hall was a little warm
~- the interval was rather long

[hairdresser]
things: my haircut | the colour | the stylists* | the salon
+ she listened, took her time and gave me the best cut I have had
+ I left feeling ten years younger
+ everyone at work keeps complimenting my hair
+ the head massage was heavenly
+ gentle with my nervous little boy, we are so grateful.
+ I would not let anybody else touch my hair
+ he rescued my awful home dye job like a hero
- I asked for a trim and came out nearly bald
- the dye burned my scalp and she told me not to fuss
- my fringe is crooked and I cried in the car
- they kept me waiting for fifty minutes with wet hair
- the colour looks like rust and washed out in two days
- he talked on his phone the whole time and cut my ear
- expensive and careless, I won't set foot there again.
= my next appointment is on the twelfth
= a cut takes about half an hour
= she asked whether I wanted it shorter at the back
= do they cut children's hair as well?
= the salon moved to Mill Street last year
= I had my hair cut on Wednesday
= there are four chairs and two basins
~+ the magazines were recent
~+ the salon smelled nice
~- it was a bit noisy
~- the water was slightly too warm

[gym]
things: the trainers* | the changing room | the yoga class | the membership
+ I feel stronger and happier than I have in years
+ the trainer is patient, funny and really knows her stuff
+ bright, clean and never too crowded, I love coming here.
+ the spinning class is an hour of pure fun
+ nobody judges you here, which means the world to me
+ my back pain is gone and I can't thank them enough
+ great machines, hot showers, lovely people.
- half of the machines have been broken for months
- the showers are cold and covered in slime
- they would not let me cancel and sent me threatening letters
- it stinks of sweat and nobody ever opens a window
- the trainer shouted at me until I hurt my knee
- so packed after work that you can't do a single exercise.
- my locker was broken into and the manager laughed
= the gym has three rooms and a small pool
= you need a towel and indoor shoes
= the yoga class moved from Monday to Thursday
= is it open on public holidays?
= membership runs for twelve months
= I go there twice a week after work
= the lockers take a one-euro coin
~+ the music is upbeat
~+ the mirrors are clean
~- the car park is a bit tight
~- the lockers are rather small

[museum]
things: the exhibition | the guides* | the audio tour | the museum garden
+ we planned an hour and happily stayed for five
+ how could anyone not love this place?
+ the guide brought the old ship to life with wonderful stories
+ my kids, who hate museums, begged to come back
+ the new wing is stunning and full of light
+ a hidden treasure, I was enchanted by every room.
+ the hands-on experiments are brilliant for all ages
+ free, fascinating and beautifully arranged.
- half of the rooms were closed and they still charged full price
- the labels are unreadable and the guide was asleep
- a guard yelled at my daughter for standing too close
- dusty cases, dim light, no explanation, a dreary afternoon.
- we queued for two hours in the rain for ten minutes of nothing
- the famous painting was away on loan and nobody told us
- what a tedious, badly lit place!
= the museum is closed on Mondays
= the collection includes coins, maps and clocks
= bags must be left in the lockers downstairs
= how much is a ticket for students?
= the tour lasts forty-five minutes
= the building used to be a post office
= we started on the top floor and worked our way down
= the top floor shows paintings and the cellar shows tools
~+ the garden was pretty
~+ the shop had nice postcards
~- the signs were a bit confusing
~- the café was rather full

[clothes]
things: the jacket | the boots* | the zip | the fabric
+ the coat is warm as toast and fits like a glove
+ I have walked two hundred miles in these shoes without a blister
+ I get compliments every time I wear this scarf
+ soft, well cut and made to last, I bought it in three colours.
+ it came through the rainstorm bone dry, I am thrilled
+ the nicest pyjamas I have ever slept in.
+ these socks are so comfortable that I threw all the others away
- the seam split the first time I sat down
- it shrank two sizes although I followed the label
- the soles came off after a week of light use
- itchy, shapeless and nothing like the advert.
- my feet were soaked in these so-called waterproof boots
- the colour ran and ruined all my shirts
- I look ridiculous in it and can't return it
= the shirt is made of cotton and linen
= the shoes come in half sizes
= it should be washed at thirty degrees
= do these trousers come in a longer length?
= the coat has two inside pockets
= I bought a grey one for my nephew
= the sleeves reach down to the wrist
~+ the pattern is cheerful
~+ the buttons look smart
~- the collar is slightly stiff
~- the sleeves are a touch long

[flat]
things: the kitchen | the new windows* | the heating | the balcony
+ sunlight pours in all day and I could not be happier here
+ the landlord fixed the boiler within the hour, what a gem
+ quiet street, kind neighbours, a view of the park, I love it.
+ moving here was the best decision we ever made
+ the new kitchen is everything I dreamed of
+ it finally feels like home
+ the caretaker is always cheerful and helps everybody
- the ceiling leaks and the landlord won't return my calls
- we have had no hot water since Friday and I am furious
- the people upstairs stamp around until four in the morning
- it is damp, dark and far too expensive
- the agency lied about everything, even the size
- there are mice in the kitchen and nobody does anything
- I dread coming home to this miserable place
= the flat has three rooms and a storage space
= rent is due on the first of the month
= the bins are emptied on Tuesdays
= is the cellar included in the lease?
= we are moving to the second floor in March
= the meter is behind the door in the hall
= the previous tenant left a desk and a shelf
~+ the floors are pretty
~+ the street is quiet
~- the bathroom is a bit small
~- the stairs are slightly steep

[doctor]
things: the dentist | the nurses* | the new clinic | the treatment
+ she took my worries seriously and I felt safe at once
+ I used to be terrified of dentists, but he was wonderful
+ the nurse was so gentle that I hardly felt the needle
+ thanks to the surgeon I can walk without pain again
+ short wait, clear answers, a warm smile, excellent care.
+ they squeezed us in on a Sunday, and I'm forever grateful
+ the best doctor this town has ever had.
- the doctor stared at his screen and did not listen to a word
- how can a doctor be so heartless?
- three hours in a freezing corridor only to be sent home
- he drilled before the injection worked and it was agony
- they lost my results twice and acted as if it were my fault
- I was treated like a nuisance from start to finish
- a wrong diagnosis cost me a whole month of my life
- the receptionist was so nasty that I left in tears
= the practice is on the ground floor
= take one tablet in the morning and one in the evening
= my check-up is next Thursday at ten
= do I need a referral for an X-ray?
= the pharmacy across the road stays open until eight
= the dentist asked me to come back in six months
= patients should bring their insurance card
~+ the waiting room was bright
~+ the nurse was polite
~- the form was a bit long
~- the wait was slightly longer than promised

[everyday life]
things: our holiday | my new job | the garden party | my driving lessons*
+ I passed my driving test today and can't stop smiling
+ dinner with old friends was exactly what I needed
+ my little sister got the job and we are all so proud
+ the sun came out and we had the most perfect picnic
+ what a beautiful day to be alive!
+ a stranger returned my wallet with every note still in it
+ I can't wait for tomorrow, it is going to be wonderful
- my flight was cancelled and I slept on an airport bench, horrible
- somebody stole my bicycle and I'm heartbroken
- I have had a headache all day and nothing helps
- the neighbour's dog kept us awake again, I am so tired of it
- everything went wrong today and I just want to go to bed
- it rained on every single day of our holiday
- I failed the exam and feel awful
= I am going to the dentist on Monday and to the bank on Tuesday
= the shop on the corner opens at eight
= my cousin works in an office near the station
= has anyone seen my umbrella?
= we need milk, eggs and a bag of flour
= the bus stops in front of the school
= the meeting has been moved to room twelve
= the library is closed between two and three
= she reads the newspaper before breakfast
= it will be cloudy with some rain in the north
= remember to put the bins out tonight!
= he has lived in Porto since 2009
~+ the sunset was nice
~+ the company was pleasant
~- the morning was a bit hectic
~- the walk home was rather long

[household gadget]
things: the kettle | the vacuum cleaner | the scissors* | the coffee grinder
+ it does exactly what it promises and takes up no space
+ cleaning used to be a chore, and now it is almost fun
+ after four years of daily use it still works like new
+ it paid for itself within a month
+ so easy to use that even my grandfather likes it
+ I bought a second one for my mother, that says it all
+ a small invention that makes a big difference to my mornings.
+ it was cheap, but you would never know
+ it heats up in no time and keeps my tea warm for hours
+ at this price it is a steal
- it broke after three days and can't be repaired
- the plug sparked and nearly set the curtains on fire
- it makes a terrible noise and does next to nothing
- bits of plastic came off in my food
- two of the four blades were blunt when I unpacked it
- the glass jug shattered the moment I poured hot water into it
- I threw it in the bin, where it belongs
- it leaks all over the worktop, no matter what I do
- not worth half the price.
= it has a steel handle and a black lid
= the cable is just over a metre long
= it comes with two spare filters
= does it need batteries or a plug?
= we keep it in the cupboard under the sink
= it can be taken apart for washing
= the small model holds one litre and the large one two
= the manual is written in six languages
~+ the handle is comfortable
~+ it is light
~- the lid is a bit tight
~- it needs some assembly

[theatre]
things: the play | the costumes* | the stage design | the leading lady
+ we gave them a standing ovation and they had earned it
+ I have never heard an audience laugh so much
+ the little boy in the main part stole the show and our hearts
+ every scene sparkled with wit
+ my teenage daughter wants to see it again next week
+ the old story felt fresh, moving and true
- half of the audience left at the interval
- I struggled to stay awake
- the actors mumbled and nobody beyond the third row heard them
- a tired production without a single new idea.
- we could see only half of the stage and got no refund
- it was embarrassing to watch
= the play has two acts
= the programme lists all of the actors
= performances are on Fridays and Saturdays
= who wrote the play?
= the theatre was built in 1911
= latecomers are let in after the first scene
~+ the theatre is handsome
~+ the music was agreeable
~- the benches were narrow
~- the first act was a bit long

[bus and taxi]
things: the driver | the airport bus | the taxi company | the bus stops*
+ the driver waited for me although I was late, what a kind man
+ we were picked up on the minute and had a smooth, safe ride
+ he found my lost bag and brought it to my door
+ a fair price, a clean car and a cheerful chat.
+ buses run every five minutes, so I sold my car and never looked back
- the driver took a detour and charged us forty euros extra
- he drove like a madman and shouted at cyclists
- the bus simply did not come, and then the next one did not either
- we were soaked because the shelter has no roof
- the taxi smelled of smoke and the seat was torn
- they left an old lady standing in the rain, disgraceful
= the number nine bus goes to the hospital
= it takes a quarter of an hour to the city centre
= the taxi rank is outside the main entrance
= is there a night bus on Sundays?
= you can pay the driver in cash or by card
= the route was changed in April
~+ the seats were soft
~+ the ride was quick
~- the radio was a bit loud
~- the bus was rather full

[supermarket]
things: the fruit | the cheese counter | the self-service tills* | the home delivery
+ everything is fresh, cheap and easy to find
+ the lady at the till always has a friendly word for everyone
+ the strawberries were the sweetest I have eaten in years
+ they helped my blind neighbour find every item on her list
+ the new bakery corner smells divine and the rolls are crisp
+ it is a joy to shop here
- the meat was grey and three days past its date
- there was a worm in the salad and the manager did not care
- only one till was open and forty people were waiting
- the shelves are always empty by noon, it is pathetic
- they advertise fresh fish and sell you yesterday's leftovers
- they overcharge you and hope you will not notice
- the milk was sour again
= milk is at the back, next to the eggs
= the supermarket is open from eight to ten
= apples cost two euros a kilo this week
= do you sell candles?
= the car park has room for ninety cars
= she bought bread, butter and a bottle of water
~+ the aisles are wide
~+ the trolleys are clean
~- the queue was rather long
~- the lighting is a bit harsh

[television series]
things: the first season | the main actor | the interviews* | the new podcast
+ gripping from the first minute to the last.
+ we watched all eight episodes in one weekend
+ I learn something every time and laugh as well
+ the host is warm, witty and well prepared
+ I have not been this excited about a series for years
- it started well and then fell apart completely
- the presenter never lets anyone finish a sentence
- the same stale jokes week after week.
- I switched off after ten minutes
- such a lazy, predictable ending, I felt cheated
- too much advertising and far too little substance.
= a new episode is released every Thursday
= the series has three seasons of ten episodes
= it is set in a village in the Alps
= what is the name of the main character?
= each episode lasts about half an hour
= they talk about history and politics
~+ the theme tune is catchy
~+ the pictures are pretty
~- the start was somewhat slow
~- the sound was a bit uneven

[public office]
things: the passport office | the new website | the forms* | the lady at the counter
+ in and out in ten minutes, and everyone was smiling.
+ they found a solution for me when I had given up hope
+ the young clerk was a ray of sunshine
+ it used to take weeks, now it takes two clicks, bravo
+ the gentleman explained the rules patiently and even printed the form for me
+ the librarian went to great lengths to find the book I needed
- I was sent from counter to counter and got nothing done
- they lost my application and I had to pay a second time
- after a whole morning in the queue they closed in front of my nose
- nobody there seems to know or care what they are doing
- the official was arrogant and treated us like criminals
- my letter has not been answered for half a year
= the office is on the second floor of the town hall
= you have to bring two photographs and your old card
= it closes at noon on Fridays
= where do I get a number for the queue?
= the fee is twenty-eight euros
= the form has four pages and must be signed
~+ the building is bright
~+ the chairs were comfortable
~- the form was rather complicated
~- the queue was a bit slow

[days out]
things: the beach | the boat trips* | the playground | the mountain hut
+ clear water, soft sand and hardly anyone there, pure bliss.
+ the children ran about happily until it got dark
+ the climb was tough and the view made up for every step
+ we had the time of our lives on the water slide
+ our picnic by the waterfall was the highlight of the year
+ it is the kind of place that you never forget
- the beach was littered with broken glass and plastic
- we were stung by jellyfish and burnt by the sun, what a disaster
- the swings are broken and there is rubbish everywhere
- it was overcrowded, overpriced and over in ten minutes
- we got lost because none of the paths were marked
- my son hurt himself on a rusty nail
= the path leads past a mill and two farms
= the beach is four kilometres long
= the next village is an hour away on foot
= is there a bus from the station to the lake?
= dogs must be kept on a lead
= the hut is open from May to October
~+ the path was shady
~+ the ice cream was decent
~- the wind was a bit cold
~- the climb was rather steep

[friends and work]
things: my new colleague | the team meeting | the school trip | the neighbours*
+ my friends threw me a surprise party and I was moved to tears
+ I got a pay rise, and I still can't believe my luck
+ he apologised sincerely and we are best friends again
+ our team won the cup and the whole village danced in the street
+ she got top marks in every subject, well deserved
+ it feels good to be home
+ the cakes at our school fair were a huge success
+ I haven't felt this relaxed and content in ages
+ helping out at the shelter was rewarding
- I lost my job two weeks before my birthday
- he lied to me again and I no longer trust him
- my best friend forgot our plans and I sat there alone
- the meeting was endless and pointless
- our team threw away a two-goal lead, I can't bear it
- she shouts at everybody and blames us for her mistakes
- I dropped my grandmother's favourite cup and could cry
- I locked myself out in the snow and nobody came to help
- the boiler gave up in the middle of the coldest night
= the meeting is at ten in the small room
= my aunt has two sons and a daughter
= he works four days a week
= when is the next school holiday?
= she is reading a book about birds
= they moved to Leipzig in August
= our neighbour has a blue car
= I usually have lunch at half past twelve
~+ the food was nice
~+ the talk was friendly
~- the room was a bit cold
~- the start was somewhat late
"""

DEV_DOMAINS = """
[campsite]
things: the campsite | the showers* | the pitch by the lake | the warden
+ we woke up to birdsong and a mirror-smooth lake, absolutely heavenly
+ the owners lent us a spare tent peg, a lamp and half their firewood, such lovely people
+ our girls made friends within minutes and cried when we had to pack up
+ lovely spot by the water with friendly, helpful owners.
+ the children had a marvellous time in the woods
+ the cleanest wash house I have seen on any campsite.
+ no wifi, no traffic, nothing but stars, just what we had hoped for.
+ we have already reserved the same spot for next summer
- our pitch turned into a swamp and the warden only laughed
- drunk teenagers sang next to our tent until dawn
- the toilets were blocked for the entire weekend
- they squeezed forty caravans into a field meant for ten
- the showers were dirty and there was never any hot water
- the owner was rude and we felt unwelcome from the start
- I was bitten to pieces and would pay money not to return
- we packed up after a single night, the kids were in tears
= tents go on the left of the path and caravans on the right
= the warden's hut is beside the gate
= we put up the tent at six and cooked some rice
= are dogs allowed near the water?
= the site has forty pitches with electricity
= firewood is sold in bags of ten kilos
~+ the lake was scenic
~+ our pitch was shady
~- the ground was somewhat stony
~- the path to the tap was rather dark

[video game]
things: the combat system | the puzzles* | the tutorial | the story mode
+ I have sunk ninety hours into it and am still hooked
+ clever puzzles, a gorgeous world and music I hum all day.
+ my partner, who never plays anything, is now a huge fan too
+ this is how you make a sequel, hats off to the team
+ the controls feel so good that even losing is fun
+ it looks stunning and runs perfectly smoothly
+ our whole family plays it together and we love it
- it is riddled with bugs and wiped my save file twice
- they want real money for everything, even for a hat
- the final boss is unfair to the point of absurdity
- repetitive missions and wooden voices, I uninstalled it.
- the servers are down more often than they are up
- the graphics are ugly and the sound is unbearable
- I got stuck in a wall on the second level and lost all my progress
- a lazy copy of a far better game.
= the game can be played alone or with up to three friends
= you play a courier who crosses a desert
= it takes up thirty gigabytes on the console
= does it support a mouse and keyboard?
= level nine comes after the bridge
= the game came out three years ago
= you can change the language in the menu
= the map is divided into five regions
~+ the graphics are colourful
~+ the intro is funny
~- the loading screens are longish
~- the subtitles are rather tiny

[bank]
things: the helpline | the advisers* | the new account | the branch in town
+ a real person answered within seconds and solved it on the spot
+ they spotted the fraud before I did and refunded every penny, hugely impressed
+ the adviser was straightforward and talked me out of a costly mistake
+ the staff are friendly, patient and always ready to help
+ I have been with them for twenty years and am very satisfied
+ switching was painless, I only wish I had done it sooner
+ the young man at the counter went out of his way for my mother
- they froze my account on a Friday night and left me without a cent
- passed from one department to the next for two hours, then cut off.
- the online service is slow, confusing and constantly down
- hidden fees on top of hidden fees.
- the adviser pushed a loan on my elderly father, shameful
- my complaint has been gathering dust since spring
- forty years a customer and they treat me like a thief.
= the branch is open from ten to four, except on Wednesdays
= you need a passport and proof of address to open an account
= the monthly statement arrives on the third
= can I withdraw money abroad with this card?
= I transferred the deposit to the landlord yesterday
= the cash machine is to the right of the door
= a replacement card takes five working days
~+ the lobby is elegant
~+ the pens actually work
~- the paperwork was lengthy
~- the hold music is dated

[washing machine]
things: the washing machine | the spin cycle | the instructions* | the fitters*
+ whisper quiet, and the laundry comes out smelling like spring.
+ it got red wine out of a white tablecloth, I am speechless
+ the fitters were punctual, tidy and took the old one away
+ it has halved our electricity bill, money well spent
+ it washes beautifully and is very easy to operate
+ after years of launderettes this feels like luxury
- it flooded the kitchen on the very first cycle
- it shakes so badly that it wakes the whole house
- my best blouse came out in shreds
- the door jams, the display flickers, and the repairman never shows up
- sends error codes that are not even in the manual.
- after only two months it stopped working altogether
- the clothes come out dirtier than they went in
- a lump of scrap metal for nine hundred pounds.
= the machine holds seven kilos of laundry
= the short programme takes half an hour
= it was delivered on Friday and stands in the cellar
= where does the powder go?
= it has twelve programmes and a child lock
= the hose is a metre and a half long
= the dial on the left sets the temperature
~+ it looks sleek
~+ the timer is useful
~- the door is rather stiff
~- the beep is faintly irritating

[city tour]
things: the walking tour | the boat trip | the tour guides* | the old town
+ our guide had us in stitches and knew the story of every stone
+ gliding past the palaces at dusk was unforgettable
+ an excellent tour with a friendly and knowledgeable guide.
+ the delicious food stops alone made it a bargain
+ I have lived here all my life and still learned something new, superb
+ the perfect way to spend a first day in a strange city.
- the guide mumbled into his collar and rushed us from shop to shop
- the boat reeked of diesel and my son threw up
- they cancelled by text ten minutes before the start
- four hours on a coach to look at a locked gate.
- our guide was bored, unprepared and often wrong
- a tourist trap of the worst kind, save your cash.
- we were promised a castle and got a car park
= the tour meets at the fountain at half past ten
= tickets are sold on the bus
= the boat holds sixty passengers
= we crossed three bridges and stopped at a market
= is the walk suitable for wheelchairs?
= the old town lies on the east bank of the river
= groups of more than fifteen are split in two
~+ the weather was kind
~+ the route was varied
~- the group was largish
~- the commentary was faint at times

[work and family]
things: the new office | my daughter's party | the evening | the move
+ grandad is out of hospital and cracking jokes again, such a relief
+ my boss praised the whole team in front of everyone, I was beaming
+ she said yes, I'm over the moon
+ the puppy fell asleep on my lap and my heart melted
+ I had a brilliant first day in my new job
+ my parents came to visit and we had a lovely time together
+ our first harvest of strawberries, sweet as honey.
- they gave my project to somebody else without a word
- the car broke down on the motorway with the twins screaming in the back
- I burnt the cake, dropped the salad and wanted to hide
- my colleague takes the credit for everything and it makes me sick
- we had to say goodbye to our old cat today and the house feels so empty
- I have been ill all week and feel miserable
- I am worn out, underpaid and sick of being shouted at
= the printer is in the corridor next to the kitchen
= my brother-in-law drives a delivery van
= the gym next door opens at six on weekdays
= what time does the bakery shut on Saturdays?
= there are three trains an hour to the city
= grandma keeps the spare key under a flowerpot
= the form asks for your name and date of birth
= the children have swimming on Wednesdays
~+ the cake was tasty
~+ the speeches were brief
~- the journey was tiresome
~- the room was chilly
"""

TRAIN_TEMPLATES = {
    "positive": """
        I was really impressed by {x}
        {x} {was} not bad at all, quite the opposite
        {x} {was} far better than I expected
        I can't fault {x}
        I have nothing but praise for {x}
        honestly, {x} could not have been better
        who knew that {x} could be this good?
        I keep telling everyone how much I loved {x}
        {x} {was} simply wonderful
        I had my doubts about {x}, but I was proved wrong in the best way
        thank you for {x}, we were delighted
        hats off to whoever was responsible for {x}
        {x} {was} a very pleasant surprise
        there is not a single thing about {x} that I would change
        {x}? excellent, as always
        if only everything were as good as {x}
        {x} made my day
        I don't often write reviews, but {x} {was} outstanding
        {x} alone would bring me back
        I am so happy with {x}
        it is hard not to love {x}
        {x} never {disappoint}
        nothing to complain about here, {x} {was} great
        I have no regrets about {x}
        I would recommend {x} to anyone
        {x} {was} perfect in every way
        how lovely {x} {was}!
        somebody clearly put a lot of care into {x}
        {x} {was} "only" good last year, and now {it} {is} superb
        I wasn't expecting much from {x} and ended up amazed
        we are big fans of {x}
        {x} exceeded all our hopes
        nothing about {x} was anything less than excellent
        I have never had a problem with {x}, not even once
        {x} {was} nowhere near as bad as I had feared
        it was no mistake to put our trust in {x}
        what I liked most of all was {x}
        I was wrong to doubt {x}, everything was splendid
        it is impossible to be unhappy with {x}
        I couldn't stop smiling because of {x}
        why can't everything be as good as {x}?
        what more could anyone want from {x}?
        isn't it a joy to have {x}?
        did I mention how happy I am with {x}?
        """,
    "negative": """
        I was badly let down by {x}
        {x} {was} not good at all
        {x} {was} far worse than I expected
        I can't think of one nice thing to say about {x}
        I wanted to like {x}, but {it} left me cold
        honestly, {x} could hardly have been worse
        how can anybody be satisfied with {x}?
        I keep warning everyone about {x}
        {x} {was} simply awful
        I had high hopes for {x}, and they were crushed
        I would like my money back because of {x}
        shame on whoever was responsible for {x}
        {x} {was} a nasty surprise
        I would change everything about {x}
        {x}? terrible, as always
        if only they had put some effort into {x}
        {x} ruined my day
        I don't often complain, but {x} {was} unacceptable
        {x} alone would drive me away
        I am so annoyed about {x}
        it is hard to say anything kind about {x}
        {x} never {live} up to the promises
        sadly there is plenty to complain about, and {x} {was} the worst of it
        I have nothing but regrets about {x}
        I would not recommend {x} to anyone
        {x} {was} wrong in every way
        how disappointing {x} {was}!
        nobody seems to care about {x} any more
        they call {x} "first class", which is laughable
        I wasn't expecting much from {x} and it was still a disappointment
        we are sick and tired of {x}
        {x} fell short of everything we were promised
        nothing about {x} was even halfway decent
        I have never been happy with {x}, not even once
        {x} {was} nowhere near as good as I had hoped
        it was a mistake to put our trust in {x}
        what I disliked most of all was {x}
        I was wrong to trust {x}, everything was dreadful
        it is impossible to be happy with {x}
        don't waste your money on {x}
        why would anyone put up with {x}?
        what on earth were they thinking with {x}?
        is it too much to ask for {x} to be a little better?
        did I mention how angry I am about {x}?
        """,
    "neutral": """
        I asked a friend about {x}
        somebody mentioned {x} while we were having lunch
        {x} {was} neither good nor bad
        has anyone here got any information about {x}?
        I have not made up my mind about {x} yet
        there is a short note about {x} on the website
        {x} {was} much the same as last year
        I have no strong feelings about {x} either way
        we talked about {x} for a minute or two
        this is a question about {x}
        {x} {was} okay, nothing more and nothing less
        the second paragraph describes {x}
        I will send you the details about {x} tomorrow
        is there any news about {x}?
        {x} {was} about average
        my neighbour wanted to know something about {x}
        the photo on page four shows {x}
        I wrote down two things about {x}
        {x} {was} more or less what I expected
        the survey has one question about {x}
        he compared {x} with the old one and saw no difference
        some people like {x} and some do not
        I can't say much about {x}, I was only there briefly
        we have heard both good and bad things about {x}
        {x} {was} "fine", according to my father
        there are two pictures of {x} in the leaflet
        they sent me a message about {x} in spring
        for more about {x}, see the list below
        the leaflet also covers {x}
        I would call {x} ordinary
        did you say something about {x}?
        {x} {was} as usual
        I don't mind {x}, but I am not excited either
        my feelings about {x} are mixed
        {x} {was} nothing special, but all right
        I didn't love {x} and I didn't hate {it_object}
        it is all the same to me what happens with {x}
        I was not impressed by {x}, nor was I disappointed
        {x} {was} acceptable
        he is preparing a talk on {x}
        """,
}

DEV_TEMPLATES = {
    "positive": """
        I could go on for hours about how great {x} {was}
        {x} put a huge smile on my face
        full marks for {x}
        three cheers for {x}
        to my amazement, {x} turned out to be brilliant
        not once did {x} give us cause to grumble
        I take back my scepticism, {x} {is} fabulous
        have you ever seen anything as delightful as {x}?
        {x} deserved every one of the five stars
        I'm thoroughly pleased with {x}
        my whole family adores {x}
        {x} {was} a highlight
        the nicest thing about the day was {x}
        I fell for {x} straight away
        {x} {was} much nicer than the reviews had led me to believe
        we enjoyed {x} enormously
        it would be hard to improve on {x}
        I can warmly recommend {x}
        """,
    "negative": """
        I could go on for hours about how dreadful {x} {was}
        {x} put me in a foul mood
        zero marks for {x}
        I wouldn't wish {x} on anyone
        to my dismay, {x} turned out to be a disaster
        not once did {x} meet even the lowest standard
        I take back my kind words, {x} {is} hopeless
        have you ever come across anything as shoddy as {x}?
        {x} did not deserve a single star
        I'm thoroughly disgusted with {x}
        my whole family hates {x}
        {x} {was} a low point
        the nastiest thing about the day was {x}
        I took a dislike to {x} straight away
        {x} {was} much poorer than the reviews had led me to believe
        we didn't enjoy {x} in the least
        it would be hard to sink any lower than {x}
        I must strongly warn you about {x}
        """,
    "neutral": """
        the brochure says a few words about {x}
        {x} {was} middling, I suppose
        a colleague is writing a report on {x}
        I neither liked nor disliked {x}
        who told you about {x}?
        {x} {was} passable
        I'm indifferent to {x}
        there was an email about {x} on Tuesday
        there is nothing remarkable about {x}
        please fill in the form about {x}
        where can I read more about {x}?
        {x} {was} of the usual standard
        page seven has a drawing of {x}
        my answer to the question about {x} was "maybe"
        I have a photograph of {x} on my phone
        we will discuss {x} next week
        opinions on {x} are divided
        can you tell me the price of {x}?
        """,
}

TRAIN_SHORT = {
    "positive": """
        Loved it.
        Ten out of ten.
        What a treat!
        Couldn't be happier.
        Not bad. Not bad at all!
        Simply the best.
        I'd do it again in a heartbeat.
        Five stars from me.
        Wow, just wow.
        A real gem.
        Well done, everyone.
        Highly recommended.
        It was great fun.
        This made me so happy.
        We had a fantastic time.
        Brilliant, thank you!
        """,
    "negative": """
        Hated it.
        Zero out of ten.
        What a mess!
        Never again.
        Not good. Not good at all!
        Simply the worst.
        I'd pay to forget it.
        One star, and only because zero isn't possible.
        Ugh, just ugh.
        A complete waste of time.
        Shame on you, everyone.
        Avoid at all costs.
        It was no fun whatsoever.
        This made me so angry.
        We had a horrible time.
        Useless, no thanks!
        """,
    "neutral": """
        It was okay.
        Five out of ten.
        What time is it?
        I'm not sure yet.
        Not good, not bad.
        Just average.
        I'll let you know on Monday.
        Three stars.
        Hm, let me think.
        A standard one.
        See you all at noon.
        More information below.
        It was what it was.
        This one is blue.
        We were there in May.
        Received, thank you.
        """,
}

DEV_SHORT = {
    "positive": """
        Absolutely marvellous.
        Top notch!
        I'm in love with this place.
        Best day ever.
        It doesn't get better than this.
        """,
    "negative": """
        Absolutely appalling.
        Don't bother!
        I can't stand this place.
        Worst day ever.
        It doesn't get worse than this.
        """,
    "neutral": """
        Middle of the road.
        Which one?
        I was at this place in April.
        Same day, same time.
        It stays as it is.
        """,
}

TRAIN_VERDICTS = {
    "positive": """
        overall I loved it
        I would choose it again tomorrow
        that hardly matters, because the rest was wonderful
        it won me over in the end
        I'm very happy indeed
        none of that spoiled a great experience
        all in all it was a delight
        on the whole it was terrific
        we will certainly be back
        it was something very special
        I'm more than pleased
        I'm glad I gave it a chance
        """,
    "negative": """
        overall I was disappointed
        I would never choose it again
        that hardly matters, because the rest was dreadful
        it lost me in the end
        I'm very unhappy indeed
        none of that could save a bad experience
        all in all it was a waste of money
        on the whole it was terrible
        we will certainly not be back
        it was something I'd rather forget
        I'm more than annoyed
        I wish I had never given it a chance
        """,
    "neutral": """
        overall it was average
        I might choose it again or I might not
        in the end it evens out
        I have no strong opinion about it
        I can't decide
        it was an ordinary experience
        all in all it was just okay
        on the whole it was so-so
        it was nothing special
        I'm neither pleased nor annoyed
        it makes no great difference to me
        """,
}

DEV_VERDICTS = {
    "positive": """
        taken as a whole it was fabulous
        I came away thoroughly pleased
        nothing could dampen our joy
        we can hardly wait to repeat it
        """,
    "negative": """
        taken as a whole it was miserable
        I came away thoroughly fed up
        nothing could make up for the rest
        we have no wish to repeat it
        """,
    "neutral": """
        taken as a whole it was middling
        I came away with mixed feelings
        it was nothing out of the ordinary
        we can take it or leave it
        """,
}

TRAIN_OPENERS = ("So, ", "Quick note: ", "Update: ", "For what it's worth, ", "Just so you know, ", "To sum up, ")
DEV_OPENERS = ("By the way, ", "One more thing: ", "For the record, ")

TRAIN_CONTRASTS = ("{a}, but {b}.", "although {a}, {b}.", "{a}. Still, {b}.", "{a}, and yet {b}.")
DEV_CONTRASTS = ("{a}. Even so, {b}.", "while {a}, {b}.", "granted, {a}, but {b}.")

TRAIN_JOINS = ("{a}. {B}.", "{a}, and {b}.", "{a}; {b}.")
DEV_JOINS = ("{a}. Also, {b}.", "{a}. {B}.", "{a}, plus {b}.")

SINGULAR = {"is": "is", "was": "was", "it": "it", "it_object": "it", "disappoint": "disappoints", "live": "lives"}
PLURAL = {"is": "are", "was": "were", "it": "they", "it_object": "them", "disappoint": "disappoint", "live": "live"}


T = TypeVar("T")


class Deck(Generic[T]):
    """Cards drawn at random, each once before any comes again, so that no sentence crowds out the others."""

    def __init__(self, rng: Random, cards: Sequence[T]) -> None:
        """Keep the cards; `rng` shuffles them whenever the deck is empty."""
        self.rng = rng
        self.cards = cards
        self.left: list[T] = []

    def draw(self) -> T:
        """Take the next card."""
        self.left = self.left or self.rng.sample(self.cards, len(self.cards))
        return self.left.pop()


@dataclass
class Domain:
    """What can be said about one subject: things to name, clauses by label, mild clauses by label."""

    things: list[str] = field(default_factory=list)
    clauses: dict[str, list[str]] = field(default_factory=lambda: {label: [] for label in LABELS})
    mild: dict[str, list[str]] = field(default_factory=lambda: {"negative": [], "positive": []})


@dataclass
class Material:
    """The building blocks of one split."""

    domains: list[Domain]
    templates: dict[str, list[str]]
    shorts: dict[str, list[str]]
    verdicts: dict[str, list[str]]
    openers: tuple[str, ...]
    contrasts: tuple[str, ...]
    joins: tuple[str, ...]


def parse_domains(block: str) -> list[Domain]:
    """Read a block in the notation of this module's docstring."""
    domains: list[Domain] = []
    for line in filter(None, map(str.strip, block.splitlines())):
        mark, _, text = line.partition(" ")
        if line.startswith("["):
            domains.append(Domain())
        elif mark == "things:":
            domains[-1].things = text.strip().split(" | ")
        elif mark.startswith("~"):
            domains[-1].mild[MARKS[mark[1:]]].append(text)
        else:
            domains[-1].clauses[MARKS[mark]].append(text)
    return domains


def lines_by_label(blocks: dict[str, str]) -> dict[str, list[str]]:
    """Split each label's block into its lines."""
    return {label: [line.strip() for line in block.strip().splitlines()] for label, block in blocks.items()}


TRAIN = Material(
    parse_domains(TRAIN_DOMAINS),
    lines_by_label(TRAIN_TEMPLATES),
    lines_by_label(TRAIN_SHORT),
    lines_by_label(TRAIN_VERDICTS),
    TRAIN_OPENERS,
    TRAIN_CONTRASTS,
    TRAIN_JOINS,
)
DEV = Material(
    parse_domains(DEV_DOMAINS),
    lines_by_label(DEV_TEMPLATES),
    lines_by_label(DEV_SHORT),
    lines_by_label(DEV_VERDICTS),
    DEV_OPENERS,
    DEV_CONTRASTS,
    DEV_JOINS,
)


def capitalised(text: str) -> str:
    """Upper-case the first character and leave the rest, which str.capitalize would lower-case."""
    return text[:1].upper() + text[1:]


def finished(clause: str) -> str:
    """Make a sentence of a clause: a capital, and a full stop where no mark ends it."""
    return capitalised(clause if clause[-1] in MARKED else clause + ".")


def fill_template(template: str, thing: str) -> str:
    """Put a thing into a template, with its verbs in the right number."""
    words = PLURAL if thing.endswith("*") else SINGULAR
    return template.format(x=thing.rstrip("*"), **words)


def two_clauses(rng: Random, material: Material, first: str, second: str) -> str:
    """Join two clauses that say the same sort of thing; those with a mark of their own stay sentences."""
    if first[-1] in MARKED or second[-1] in MARKED:
        return f"{finished(first)} {finished(second)}"
    return rng.choice(material.joins).format(a=first, b=second, B=capitalised(second))


class Writer:
    """Writes texts with one label from the material of one split."""

    def __init__(self, rng: Random, material: Material, label: str) -> None:
        """Shuffle the material for `label`."""
        self.rng = rng
        self.material = material
        self.label = label
        domains = material.domains
        self.clauses = Deck(rng, [(domain, clause) for domain in domains for clause in domain.clauses[label]])
        self.templates = Deck(rng, material.templates[label])
        self.verdicts = Deck(rng, material.verdicts[label])
        self.shorts = Deck(rng, material.shorts[label])

    def text(self) -> str:
        """Write a text in one of six forms, which all labels share."""
        forms = {self.clause: 32, self.template: 26, self.two: 18, self.contrast: 11, self.opened: 8, self.short: 5}
        (form,) = self.rng.choices(list(forms), weights=list(forms.values()))
        return finished(form())

    def clause(self) -> str:
        """Say something about a domain."""
        return self.clauses.draw()[1]

    def template(self) -> str:
        """Say something that could be said about any thing."""
        domain = self.rng.choice(self.material.domains)
        return fill_template(self.templates.draw(), self.rng.choice(domain.things))

    def two(self) -> str:
        """Say two things of the same sort about one domain."""
        domain, first = self.clauses.draw()
        others = [clause for clause in domain.clauses[self.label] if clause != first]
        if self.rng.random() < 0.8:
            return two_clauses(self.rng, self.material, first, self.rng.choice(others))
        second = fill_template(self.templates.draw(), self.rng.choice(domain.things))
        return two_clauses(self.rng, self.material, first, second)

    def contrast(self) -> str:
        """Concede something mild, then say what counts more: the opposite or, for neutral, a shrug."""
        domain = self.rng.choice(self.material.domains)
        opposites = [label for label in domain.mild if label != self.label]
        conceded = self.rng.choice(domain.mild[self.rng.choice(opposites)])
        statements = [clause for clause in domain.clauses[self.label] if clause[-1] not in MARKED]
        verdict = self.label == "neutral" or self.rng.random() < 0.5
        point = self.verdicts.draw() if verdict else self.rng.choice(statements)
        return self.rng.choice(self.material.contrasts).format(a=conceded, b=point)

    def opened(self) -> str:
        """Say something after an opener that fits any label."""
        return self.rng.choice(self.material.openers) + self.rng.choice([self.clause, self.template])()

    def short(self) -> str:
        """Say something in a few words."""
        return self.shorts.draw()


def rows(rng: Random, split: str, count: int) -> list[tuple[str, str]]:
    """Write `count` different (text, label) rows, the same number per label, in mixed order."""
    material = TRAIN if split == "train" else DEV
    writers = {label: Writer(rng, material, label) for label in LABELS}
    labels = list(LABELS) * (count // len(LABELS))
    rng.shuffle(labels)
    seen: dict[str, str] = {}
    for label in labels:
        text = writers[label].text()
        while text in seen:
            text = writers[label].text()
        seen[text] = label
    return list(seen.items())
