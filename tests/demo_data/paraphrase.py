"""Pairs of questions for the demo's paraphrase task; every question was written for this project.

One block per topic, one paragraph per intent, one line per wording of that intent. A topic may have a
`fill:` line with things that stand for {x} in its wordings. Two wordings of one intent (and one filler) are
the same question; wordings of two intents of a topic are not, though they share many words, and neither
are two fillers. Train and dev share no topic, so dev measures generalisation, not memory.
"""

from dataclasses import dataclass, field
from itertools import combinations
from random import Random

TRAIN_TOPICS = """
[tomatoes]
How do I grow tomatoes indoors?
What does it take to raise tomato plants inside the house?
Can I get a tomato plant to thrive on a kitchen windowsill, and how?
I have no garden, so how could I cultivate tomatoes in my flat?

When are tomatoes ripe?
How can I tell that a tomato is ready to be picked?
At what point should I harvest my tomatoes?
What does a fully ripened tomato look like?

Why are the leaves of my tomato plants turning yellow?
What makes tomato foliage go yellow?
My tomatoes have yellowing leaves, so what is wrong with them?
What causes the leaves on a tomato plant to lose their green colour?

How often should I water tomatoes?
How many times a week do tomato plants need watering?
How much watering do my tomatoes require?
Is it enough to give tomatoes water every other day?

[herbs]
fill: basil | mint | rosemary | parsley
How do I keep {x} alive in winter?
What can I do so that my {x} survives the cold months?
Is there a trick to getting {x} through the winter?
My {x} dies every December, so how do I prevent that?

How do I dry fresh {x}?
What is the right way to turn fresh {x} into a dried herb?
I picked a lot of {x}, so how can I dry it for storage?
Should {x} be dried in the oven or in the air?

Which dishes go well with {x}?
What can I cook with {x}?
I have too much {x}, so which recipes use it?
What kind of food tastes good with {x}?

Where can I buy {x} seeds?
Which shops sell seeds for growing {x}?
I am looking for seeds of {x}, so who has them?
Is there a good place to get {x} seeds?

[eggs]
How long should I boil an egg so that the yolk stays soft?
How many minutes does a soft-boiled egg need?
What is the cooking time for an egg with a runny yolk?
When do I take an egg out of the water if I like the middle liquid?

How can I tell whether an egg is still good?
Is there a way to test whether eggs are fresh?
What is a quick way to find out if an egg has gone off?
How do you know that an egg has not gone bad?

How do I peel boiled eggs without damaging them?
What makes the shell of a boiled egg come off easily?
My boiled eggs always tear when I shell them, so what helps?
Is there a trick for removing the shell from a cooked egg?

What can I use instead of eggs in a cake?
Which ingredient replaces eggs in baking?
How do I bake a cake when I have no eggs?
Is there a good egg substitute for cakes?

[bread]
Why does my bread not rise?
What stops bread dough from rising?
My loaf stays flat in the oven, so what am I doing wrong?
What could be the reason that my dough doesn't get any bigger?

How do I keep bread fresh for longer?
What is the best way to store bread so it doesn't go stale?
Where should I put a loaf to stop it from drying out?
How can I make bread last the whole week?

Can I bake bread without yeast?
Is there a recipe for a loaf that needs no yeast?
How do you make bread if you have run out of yeast?
What kinds of bread work without any yeast?

What can I do with stale bread?
How do I use up bread that has gone hard?
Are there any recipes for old bread?
My bread is dry, so is there something tasty I could make of it?

[coffee]
How much coffee should I use per cup?
What is the right amount of ground coffee for one cup of water?
How many spoons of coffee go into a single cup?
What ratio of coffee to water is recommended?

How do I get coffee stains out of a shirt?
What removes a coffee spot from clothes?
I spilled coffee on my blouse, so how can I clean it?
Is there a home remedy for coffee marks on fabric?

Is drinking coffee every day bad for me?
Does a daily cup of coffee harm your health?
What are the health risks of having coffee each day?
Should I worry about what coffee does to my body?

How do I clean my coffee machine?
What is the best way to descale a coffee maker?
My espresso machine is full of limescale, so how do I get rid of it?
How can I remove the deposits inside a coffee machine?

[rice and pasta]
How do I stop rice from sticking to the pot?
Why does my rice always burn onto the bottom of the pan?
What keeps rice from clinging to the saucepan?
Is there a way to cook rice so that it doesn't stick?

How long does cooked rice keep in the fridge?
For how many days can I eat leftover rice?
When does rice in the refrigerator go bad?
Is rice from three days ago still safe to eat?

How much salt goes into pasta water?
What is the right quantity of salt for boiling pasta?
How salty should the water for noodles be?
When I cook pasta, how many spoons of salt do I add?

Can I freeze cooked pasta?
Is it possible to put leftover pasta in the freezer?
Does pasta survive being frozen after cooking?
What happens to boiled noodles when you freeze them?

[air travel]
How early should I be at the airport?
How many hours before a flight do I have to arrive?
What time do I need to get to the airport for check-in?
Is two hours before departure enough at the airport?

What can I do when my flight is cancelled?
The airline cancelled my flight, so what are my rights?
Do I get compensation if a flight does not take place?
What am I entitled to after a cancelled flight?

How big can my hand luggage be?
What size of bag is allowed in the cabin?
Which dimensions must a carry-on have?
What are the limits for cabin baggage?

How do I get over my fear of flying?
What helps against being scared on a plane?
I panic when the plane takes off, so how can I stay calm?
Are there methods for people who are afraid of flying?

How can I find cheap flights?
What is the best way to save money on plane tickets?
When should I book a flight to get the lowest price?
Is there a trick for getting inexpensive air fares?

[city trips]
fill: Lisbon | Prague | Athens | Dublin
What should I see in {x} in two days?
Which sights are a must for a weekend in {x}?
I only have forty-eight hours in {x}, so what is worth visiting?
How would you spend a short stay in {x}?

When is the best time of year to visit {x}?
In which month should I travel to {x}?
What is the ideal season for a trip to {x}?
Is {x} nicer in spring or in autumn?

Is {x} an expensive city?
How much money do I need per day in {x}?
What do hotels and food cost in {x}?
Can I afford {x} on a small budget?

How do I get from the airport to the centre of {x}?
What is the easiest way into town after landing in {x}?
Is there a train between {x} airport and downtown?
Which bus goes from the airport to the middle of {x}?

[trains]
Can I take my bicycle on the train?
Are bikes allowed in railway carriages?
May passengers bring a bicycle aboard a train?
Is it possible to travel by train with a bike?

How do I get a refund for a delayed train?
My train was an hour late, so how do I claim my money back?
What compensation is there when a train is late?
Where do I send a complaint about a train delay?

Is it cheaper to buy train tickets in advance?
Do railway fares go down if I book early?
How far ahead should I purchase a train ticket to save money?
Does booking a train weeks before the journey cost less?

Can I sleep well on a night train?
Do people get a good night's sleep in a train's sleeping car?
Is it possible to sleep soundly on an overnight train?
Will I get enough rest if I travel by night train?

[driving]
How do I parallel park?
What are the steps for parking between two cars?
Can somebody explain how to back into a space at the kerb?
I always hit the kerb when parking sideways, so how is it done properly?

How can I renew my driving licence?
What do I have to do when my driving licence runs out?
Where do you apply for a new licence after the old one has expired?
Which documents are needed to extend a driver's licence?

How do I pass the driving test at the first attempt?
What should I practise to succeed in my driving exam?
Do you have any tips for not failing the driving test?
How can I prepare for the practical test with the examiner?

Why does my car not start in cold weather?
What keeps an engine from starting on frosty mornings?
My car refuses to start when it freezes, so what is the cause?
What is the problem if a vehicle won't start in winter?

How often should I change the oil in my car?
After how many miles does an engine need fresh oil?
When is an oil change due?
What is the recommended interval between oil changes?

[laptop]
Why is my laptop so slow?
What makes a notebook computer sluggish?
My computer takes ages to do anything, so what is the reason?
What slows down an old laptop?

How do I clean a laptop screen?
What should I wipe my laptop display with?
Which cloth is safe for removing fingerprints from a notebook screen?
How do I get dirt off the display of my laptop?

How can I make my laptop battery last longer?
What helps to extend the battery life of a notebook?
Which settings make a laptop run longer on battery?
My notebook runs out of power too soon, so how do I improve that?

Can I connect two monitors to my laptop?
How do I set up a pair of external screens with a notebook?
Is it possible to use a laptop with more than one display?
What do I need in order to attach a second and third screen to my computer?

What should I do after spilling water on my laptop?
How do I save a notebook that got wet?
There is liquid in my keyboard, so how can I rescue the computer?
Which steps are important when a drink falls on a laptop?

[passwords and email]
How do I reset my email password?
I can't remember the password of my mailbox, so what now?
What is the way back into my email account without the password?
Where can I change a forgotten email password?

How do I choose a safe password?
What makes a password strong?
Which rules should a good password follow?
How do I make a password that nobody guesses?

How can I stop getting spam?
What reduces the amount of junk in my inbox?
Is there a way to block unwanted advertising emails?
My mailbox fills up with rubbish, so how do I prevent it?

How do I recover a deleted email?
Can a message be restored after I have erased it?
I threw away an important email, so how do I get it back?
Where do deleted emails go and can I retrieve them?

How do I send a large file by email?
My attachment is too big, so how can I mail it anyway?
What is the best way to email a huge file?
Is there a way around the size limit for email attachments?

[phones]
How do I transfer my contacts to a new phone?
What is the simplest way of moving phone numbers to another mobile?
Can I copy my address book from the old phone to the new one?
I bought a new mobile, so how do my contacts get there?

What can I do if my phone gets stolen?
Somebody took my mobile, so which steps should I take now?
How do I lock a phone that a thief has?
Whom do I call when my mobile has been stolen?

Why does my phone get so hot?
What is the reason for a mobile overheating?
Is it dangerous that my mobile becomes warm while charging?
My phone heats up when I play games, so what causes it?

How can I free up storage on my phone?
What should I delete when my mobile says the memory is full?
Is there a quick way to get more space on a phone?
My photos take up all the room on my mobile, so how do I make space?

[home internet]
How can I improve the wifi in my house?
What helps against a weak wireless signal at home?
Some rooms have no wifi, so how do I extend it?
Where is the best place for the router to get a good signal?

How do I change my wifi password?
Where can I set a new key for my wireless network?
What are the steps for giving the home network another password?
I want a different wifi code, so how is that done?

How fast should my internet connection be?
What internet speed do I need at home?
How many megabits should my internet connection have?
Which internet bandwidth is reasonable for a home?

How do I cancel my internet contract?
What is the procedure for ending the agreement with my provider?
Can I get out of a broadband contract early?
How can I terminate my broadband agreement?

[spreadsheets]
How do I add up a column in a spreadsheet?
Which formula gives the total of several cells?
What is the function for summing numbers in a table?
I want the sum of a list of figures, so what do I type in the cell?

How do I remove duplicate rows from a spreadsheet?
What is the quickest way to delete repeated lines in a table?
My list contains the same entry several times, so how do I clean it?
Is there a command that keeps only unique rows?

How can I protect a spreadsheet with a password?
How can I make a spreadsheet ask for a password?
Is it possible to lock a spreadsheet so that it needs a password?
What are the steps for setting a password on a spreadsheet?

How do I make a chart from my data?
What are the steps for turning a table into a diagram?
Can a spreadsheet draw a graph of my numbers?
I need a bar chart of my figures, so how do I create one?

[programming]
How do I start learning to program?
What is the best first step for a beginner in coding?
I have never written any code, so where should I begin?
Which resources are good for someone new to programming?

Which programming language should I learn for data analysis?
What language is most useful when working with data?
Is there a coding language that suits statistics best?
I want to analyse data, so which language is worth my time?

How long does it take to become a programmer?
How many months must I study before I get a job in coding?
When will I be good enough to work as a developer?
Is one year sufficient to turn into a professional programmer?

How do I find a mistake in my code?
What is a good method for tracking down bugs in a program?
My program gives the wrong result, so how can I find out why?
How do experienced developers debug their software?

[sleep]
How can I fall asleep faster?
What helps me drift off quickly at night?
I lie awake for hours after going to bed, so what can I do?
Are there tricks for getting to sleep in a few minutes?

How many hours of sleep does an adult need?
What amount of sleep per night is healthy for grown-ups?
Is six hours of sleep enough for an adult?
How long should I sleep each night?

Why do I wake up in the middle of the night?
What is the cause of waking at three in the morning?
I never sleep through, so what could be the reason?
What makes people wake up several times before dawn?

How do I stop snoring?
What can be done against loud snoring?
My wife complains that I snore, so how can I get rid of it?
Is there any treatment for people who snore?

Are afternoon naps good for you?
Is it healthy to have a short sleep after lunch?
What are the benefits of napping during the day?
Does a nap in the afternoon do any good?

[headaches and colds]
What can I do against a headache without taking pills?
How do I get rid of a headache naturally?
Are there home remedies for an aching head?
My head hurts and I don't like tablets, so what else helps?

How long does a cold last?
After how many days is a common cold over?
When will my runny nose and sore throat be gone?
How much time do you need to recover from a cold?

Should I exercise when I have a cold?
Is it safe to go running with a runny nose?
Can sport make a cold worse?
I am coughing a little, so may I still go to the gym?

When should I see a doctor about a headache?
How do I know that a headache is something serious?
Which kinds of headache need medical help?
Is a headache that stays for three days a reason to visit a doctor?

[fitness]
How do I start running as a beginner?
What is a good plan for someone who has never jogged?
I am out of shape, so how should I take up running?
What should new runners do in the first weeks?

How can I lose belly fat?
What is the most effective way to get a flatter stomach?
Which exercises or foods help against fat around the waist?
My tummy is too big, so how do I slim it down?

Do I need a gym to build muscle?
Can I get stronger by training at home?
Is it possible to gain muscle without going to a fitness studio?
How do you build strength with no machines?

Why do my muscles hurt the day after training?
What causes sore muscles after sport?
I ache all over after a workout, so where does that come from?
Is it normal to have stiff muscles following exercise?

How much water should I drink when I do sport?
What amount of fluid does the body need during exercise?
How many bottles of water are right for a workout?
Do athletes have to drink more, and how much?

[back and eyes]
How should I sit at a desk to avoid back pain?
What is the correct posture for office work?
Which sitting position is best for my spine?
My back hurts from sitting all day, so how should I hold myself?

Which exercises help against back pain?
What kind of stretching is good for a sore back?
How can I strengthen my back so it stops hurting?
Are there workouts that relieve an aching back?

How can I protect my eyes from screen work?
What should I do against tired eyes at the computer?
How do I keep screen work from damaging my sight?
My eyes burn after a day in front of the screen, so what helps?

How often should I have my eyes tested?
How many years may pass between two eye tests?
When is it time to see an optician again?
Do adults need an eye examination every year?

[saving money]
How can I save money every month?
What are good ways to put something aside regularly?
I spend my whole salary every month, so how can I save some of it?
How do people manage to spend less than they earn?

How much should I keep for emergencies?
What is a sensible size for a rainy-day fund?
How big should my emergency savings be?
What sum should I set aside for emergencies?

How do I make a household budget?
What is the first step in planning my family's spending?
Is there a simple method for budgeting at home?
I want an overview of what we spend, so how do I set it up?

How do I get out of debt?
What is the fastest way of paying back what I owe?
I owe a lot of money, so how do I become free of debt?
What can I do to pay off my debts?

[investing]
How do I start investing with little money?
Can I buy shares if I only have a hundred pounds?
What is a good first investment for a small sum?
I don't have much, so how could I invest it?

What is the difference between a share and a bond?
How do bonds differ from stocks?
In what way is owning a share unlike holding a bond?
Can you explain stocks as compared with bonds?

Is now a good time to sell my shares?
Should I get rid of my stocks at the moment?
Would it be wise to cash in my shares today?
The market is high, so had I better sell?

Do I have to pay tax on profits from shares?
Are gains on the stock market taxable?
How are stock profits taxed?
I made money with shares, so will the tax office want a part of it?

[banking]
How do I open a bank account?
What do I need in order to become a customer of a bank?
Which papers are required for a new current account?
I would like to get a bank account, so what is the procedure?

How do I close my bank account?
What is the right way to end the relationship with my bank?
Can I shut down a current account online?
I no longer want my account, so how do I get rid of it?

What should I do if I lose my bank card?
My bank card is gone, so how do I block it?
Whom must I inform when my debit card has disappeared?
Where can I report a missing bank card?

How long does a bank transfer take?
When will money that I sent arrive in the other account?
How many days pass before a transfer shows up?
Is a payment between two banks done on the same day?

[dogs]
How do I stop my dog from barking at night?
What can I do about a dog that barks in the dark?
My dog keeps the neighbours awake with his noise, so how do I train him?
Why does my dog bark after bedtime and how can I end it?

How often should I walk my dog?
How many times a day does a dog have to go out?
Is one walk per day enough for a dog?
How much exercise outside does my dog need?

What human food is dangerous for dogs?
Which things from our kitchen are poisonous to a dog?
What must my dog never eat?
Is there a list of foods that harm dogs?

How do I teach a puppy to sit?
What is the easiest method for training a young dog to sit down?
My puppy won't sit when I tell him to, so how do I get him to learn it?
Which trick works for teaching little dogs the command "sit"?

How often should I bathe my dog?
How many times a year does a dog need a bath?
Is it bad to wash a dog every week?
When is it time to shampoo my dog again?

[cats]
Why does my cat scratch the furniture?
What is the reason that cats claw at the sofa?
How come my cat ruins the armchair with her claws?
What drives a cat to sharpen its claws on the couch?

How do I introduce a second cat to the first one?
What should I do so that my cat accepts a new one?
I am getting another cat, so how do the two become friends?
What is the best way to bring a new cat into a home with a cat?

Why is my cat not eating?
What could be wrong when a cat refuses its food?
My cat has lost her appetite, so what is the cause?
For what reasons does a cat stop touching its bowl?

How do I get cat hair off my clothes?
What removes the fur that my cat leaves on my jumper?
Is there a trick against cat hairs on fabric?
All my coats are covered in cat fur, so how can I clean them?

[languages]
fill: Italian | Polish | Japanese | Arabic
How long does it take to learn {x}?
How many months do I need to become fluent in {x}?
When will I be able to speak {x} if I begin today?
Is a year enough to master {x}?

What is the best way to learn {x} at home?
How can I study {x} on my own?
I can't attend a class, so how do I teach myself {x}?
Which method works for learning {x} without a school?

How do I say "thank you" in {x}?
What is the {x} word for "thanks"?
How would a speaker of {x} thank somebody?
Which expression is used in {x} to show gratitude?

Is {x} hard to pronounce?
How difficult is the pronunciation of {x}?
Do learners struggle with the sounds of {x}?
Are the sounds of {x} a problem for beginners?

[writing]
How do I write a good cover letter?
What belongs in a letter that goes with a job application?
Which tips help with the letter to a future employer?
I am applying for a job, so what should my letter say?

How long should a CV be?
How many pages may a résumé have?
Is a two-page CV too long?
What is the ideal length of a curriculum vitae?

How can I get over writer's block?
How do authors overcome an inability to write?
I have no ideas for my story, so how do I get going again?
What helps against writer's block?

How do I publish my first novel?
What are the steps from a manuscript to a printed book?
I have finished my novel, so how do I find a publisher?
How does a new author get a first novel published?

[job interviews]
What should I wear to a job interview?
Which clothes are suitable for an interview?
What is the right outfit for meeting a future employer?
How should one dress for an interview?

How do I answer questions about my weaknesses in an interview?
What can I say when they ask for my biggest weakness?
Is there a smart reply if an interviewer wants to hear about my faults?
How honest should I be about my flaws in a job interview?

How can I be less nervous before an interview?
What calms the nerves ahead of a job interview?
My hands shake at interviews, so how do I relax?
Is there a way to fight interview anxiety?

How long should I wait to hear back after an interview?
When can I expect an answer from the company that interviewed me?
How many days is it normal to wait for a decision after an interview?
I had an interview last week, so when should I follow up?

[moving house]
How do I find a flat to rent?
What is the best way of searching for an apartment?
Where do people look for a flat that is to let?
I need a flat to rent, so how do I go about it?

How can I move house cheaply?
What keeps the costs of moving low?
Is there a way of relocating without spending much?
How do I save money when moving to a new home?

Who has to pay for repairs in a rented flat?
Is the landlord responsible for fixing things in my apartment?
Do tenants bear the cost when something breaks?
The sink in my rented flat is broken, so who pays?

How do I get my deposit back when I move out?
What must I do so that the landlord returns my deposit?
My landlord keeps the deposit, so how can I recover it?
When does a tenant get back the security money?

[cleaning]
fill: red wine | grass | ink | chocolate
How do I get {x} stains out of a carpet?
What removes {x} from a rug?
There is {x} on my carpet, so how can I clean it?
Which cleaner works on a carpet marked by {x}?

Can {x} stains be washed out of jeans?
Is there any way to get {x} off a pair of jeans?
I have {x} on my jeans, so will it come out in the wash?
How should I treat denim with {x} on it?

How do I clean the oven without chemicals?
What natural product gets burnt fat off an oven?
Is there a gentle way of scrubbing a dirty oven?
I don't want harsh cleaners, so how can I make my oven shine?

How do I remove mould in the bathroom?
What helps against mould between the bathroom tiles?
My shower has mould on the walls, so how can I get rid of it?
Which method kills mildew in a bathroom?

[home repair]
How do I fix a dripping tap?
What can be done about a tap that leaks?
My tap won't stop dripping, so how do I mend it?
Is it easy to repair a leaky faucet by oneself?

How do I unblock a sink?
What clears a clogged sink?
The water in my sink doesn't run away, so what should I do?
Is there a home remedy for a blocked kitchen sink?

How do I fill a hole in the wall?
What is used for closing holes in walls?
There is a hole in my wall, so how do I repair it?
What is the right way to close a small hole in plaster?

How do I paint a room without leaving streaks?
What is the proper technique for painting walls evenly?
My walls look stripy after painting, so what went wrong?
How do professionals get a smooth coat of paint?

[school and exams]
How do I study for an exam in one week?
What is a good plan when the exam is seven days away?
I have only a week left before the test, so how do I revise?
Can I learn everything for my exam within a week, and how?

How can I remember what I read?
What helps to keep the contents of a textbook in mind?
I forget everything after reading, so how do I make it stick?
Is there a technique for memorising texts?

How can I help my child with mathematics?
What can parents do when a child struggles with maths?
My son is bad at sums, so how do I support him?
How do I support a child who is learning maths?

Is it worth going to university?
Does a degree pay off?
Does it make sense to get a university degree?
Are the years at university a good investment?

[babies and children]
How do I get my baby to sleep through the night?
What helps a baby to sleep until morning?
My baby wakes up every two hours, so what can I do?
When and how do infants learn to sleep all night?

When do babies start to walk?
At what age does a child take its first steps?
How old are most children when they begin walking?
My son is eleven months old, so will he walk soon?

What should I do when my child refuses to eat vegetables?
How do I get a fussy child to like vegetables?
My daughter won't touch anything green, so how can I change that?
Are there tricks to make kids eat more greens?

How much screen time is all right for a child?
For how long may children watch television or play on a tablet?
What limit should parents set for phones and tablets?
How many hours a day in front of a screen are too many for a kid?

[weather]
Why is the sky blue?
What gives the sky its blue colour?
How come the sky looks blue by day?
What is the physical reason for a blue sky?

How do rainbows form?
What has to happen for a rainbow to appear?
Where does a rainbow come from?
Can you explain what makes the colours of a rainbow?

What should I do in a thunderstorm?
How do I stay safe when there is lightning?
Where should one shelter during a thunderstorm?
I am outdoors and a storm is coming, so how do I protect myself?

How do forecasters predict the weather?
On what basis are weather forecasts made?
What methods are used for saying whether it will rain tomorrow?
How do meteorologists know what the weather will be like?

[music]
fill: the guitar | the piano | the violin | the drums
Am I too old to learn {x}?
Can an adult still take up {x}?
Is it possible to begin {x} at the age of fifty?
I am a pensioner, so does it make sense to start {x}?

How many hours a day should I practise {x}?
How much practice does {x} take to make progress?
Is thirty minutes of {x} daily enough to improve?
What amount of training on {x} is sensible?

How can I practise {x} without disturbing the neighbours?
Is there a quiet way to play {x} in a flat?
My neighbours hate the noise of {x}, so how do I rehearse?
What can I do so that nobody next door hears {x}?

How do I find a good teacher for {x}?
Where should I look for someone who gives lessons in {x}?
How can I find someone good to teach me {x}?
I want lessons on {x}, so how do I pick a teacher?

[presents]
What should I give my mother for her birthday?
Do you have an idea for a birthday present for mum?
My mother turns sixty, so which gift would please her?
What is a nice thing to buy for a mother's birthday?

What is a good present for a wedding?
Which gift should I bring to a couple who are getting married?
My friends are getting married, so what could I give them?
What do people usually give the bride and groom?

How do I wrap a round present?
What is the trick for putting paper around a ball?
My gift is shaped like a ball, so how should I pack it nicely?
Is there a neat way of wrapping something without corners?

Is it rude to give money as a present?
Can I simply hand over cash on a birthday?
Do people mind getting money instead of a gift?
Is cash an acceptable gift?
"""

DEV_TOPICS = """
[bees and honey]
How do I become a beekeeper?
What do I need to begin keeping bees?
I would love to keep bees, so where do I start?
Which equipment does a novice in beekeeping require?

Why does honey turn solid?
What makes honey crystallise in the jar?
My honey has gone hard, so what happened to it?
How come liquid honey becomes grainy?

What should I do after a bee sting?
How do I treat a sting from a bee?
A bee has stung me, so how can I ease the pain?
Which first aid helps when somebody is stung?

How do bees make honey?
What turns nectar into honey inside the hive?
By what process is honey produced by bees?
Can you describe how a bee creates honey?

[camping]
How do I keep a tent dry in heavy rain?
What stops water from getting into a tent?
My tent leaks whenever it pours, so how can I seal it?
Is there a way to make a tent waterproof again?

Where am I allowed to camp for free?
In which places is camping free of charge and legal?
Where may I pitch a tent without paying?
Are there spots where you can stay in a tent without paying?

What should I pack for a weekend of camping?
Which items belong on a camping checklist?
We are going camping for two nights, so what must we bring?
What gear do I need for a short trip with a tent?

How do I light a campfire with damp wood?
What is the trick to starting a fire when everything is wet?
The logs are soaked, so how can I get a fire going?
Can you burn wet wood at a campsite, and how?

[chess]
How do the pieces move in chess?
What are the basic rules of chess?
I have never played chess, so which piece may go where?
Could somebody explain the moves in a game of chess?

How can I get better at chess?
What is the best way of improving my chess?
I keep losing at chess, so how do I become a stronger player?
Which kind of training makes you stronger at chess?

When is a game of chess a draw?
Under what conditions does a chess match end without a winner?
In which situations do both chess players get half a point?
How does a tie come about in chess?

Who was the youngest world champion in chess?
Which player won the chess world title at the lowest age?
Has anybody become chess champion as a teenager, and who?
What is the name of the youngest person ever to hold the chess crown?

[glasses]
How do I stop my glasses from fogging up?
What keeps spectacles from steaming up?
My glasses keep misting over, so what can I do?
Is there a spray or a trick against steamy glasses?

Can I drive without my glasses?
Is it legal to sit behind the wheel when I have left my spectacles at home?
Is driving without my spectacles allowed?
My licence says I need glasses, so may I drive without them?

How do I remove scratches from my lenses?
What polishes out marks on spectacle lenses?
There is a scratch on my glasses, so can it be repaired?
How can scratched spectacles be repaired?

Are contact lenses better than glasses?
Should I switch from spectacles to contacts?
What are the advantages of contact lenses compared with glasses?
Is it worth swapping my glasses for contact lenses?

[passports]
How do I replace a lost passport?
I can't find my passport, so how do I obtain another one?
What is the procedure when a passport goes missing?
My passport has vanished, so whom do I turn to?

How long does it take to get a passport?
When will my new passport be ready after I apply?
How many weeks must I wait for a passport to be issued?
What is the processing time for passport applications?

Does my baby need a passport?
Can an infant travel abroad without papers of its own?
Is a passport required for newborn children?
We are flying with a three-month-old, so must she have a passport too?

What are the rules for passport photos?
How should I look in the picture for my passport?
What is and isn't allowed in a passport photograph?
Which requirements does a photo for a travel document have to meet?

[sewing]
How do I sew on a button?
What are the steps for attaching a loose button?
A button came off my coat, so how do I put it back?
Can you show me how a button is fastened with needle and thread?

How can I shorten my trousers myself?
What is an easy way to take up the legs of trousers at home?
These trousers are too long, so how do I hem them?
Is it possible to make a pair of pants shorter without a tailor?

Which sewing machine is good for beginners?
What model would you recommend to someone who is new to sewing?
I want to take up sewing, so which machine should I buy?
Is there a simple and affordable machine for people starting to sew?

Why does the thread on my sewing machine keep breaking?
What makes the thread snap while I sew?
My machine tears the thread every few stitches, so what is wrong?
For what reason does a sewing thread break again and again?

[stars and moon]
Why does the moon change its shape?
What causes the phases of the moon?
How come we sometimes see a full moon and sometimes a crescent?
What is the explanation for the moon growing and shrinking during the month?

How far away is the moon?
What is the distance between the earth and the moon?
How many kilometres would one travel to reach the moon?
Could you tell me how long the way to the moon is?

Which telescope should a beginner buy?
What is a good first telescope for looking at the planets?
I am new to stargazing, so what kind of telescope do I need?
Can you recommend a telescope to someone who has just discovered astronomy?

Why do stars twinkle?
What makes the light of a star flicker?
For what reason do stars seem to sparkle in the night sky?
How come the stars seem to shimmer?

[pot plants]
fill: orchids | cacti | roses | ferns
How should I water {x} while I am on holiday?
How do I keep {x} watered when I go away for two weeks?
Nobody can look after my {x} during my trip, so how do they get water?
Is there a way for {x} to be watered automatically when I travel?

Which soil is best for {x}?
What kind of earth do {x} like?
I am repotting my {x}, so which compost should I use?
What should the potting mix for {x} contain?

How do I get rid of insects on {x}?
What helps against tiny bugs that sit on {x}?
My {x} are full of pests, so how can I treat them?
Which remedy kills the insects on {x}?

Do {x} need a lot of sunlight?
How much light is right for {x}?
Should {x} stand in the sun or in the shade?
Do {x} like bright or dark places?
"""

# Of the pairs that differ: same topic but another intent, same intent but another filler, another topic.
DIFFERENCES = {"intent": 75, "filler": 13, "topic": 12}

Pair = tuple[str, str]


@dataclass
class Topic:
    """A subject, its intents (each a list of wordings), and what {x} may stand for."""

    intents: list[list[str]] = field(default_factory=list)
    fillers: list[str] = field(default_factory=list)


def parse_topics(block: str) -> list[Topic]:
    """Read a block in the notation of this module's docstring."""
    topics: list[Topic] = []
    for paragraph in block.strip().split("\n\n"):
        lines = paragraph.splitlines()
        if lines[0].startswith("["):
            topics.append(Topic())
            lines = lines[1:]
        if lines[0].startswith("fill: "):
            topics[-1].fillers = lines[0].removeprefix("fill: ").split(" | ")
            lines = lines[1:]
        topics[-1].intents.append(lines)
    return topics


def filled(rng: Random, topic: Topic, first: str, second: str) -> Pair:
    """Put one filler, the same in both, into two wordings of a topic; wordings without {x} stay as they are."""
    filler = rng.choice(topic.fillers) if topic.fillers else ""
    return first.replace("{x}", filler), second.replace("{x}", filler)


def same_pairs(rng: Random, topics: list[Topic]) -> list[Pair]:
    """All pairs of wordings of one intent."""
    return [
        filled(rng, topic, first, second)
        for topic in topics
        for intent in topic.intents
        for first, second in combinations(intent, 2)
    ]


def different_intent(rng: Random, topics: list[Topic]) -> Pair:
    """Two intents of one topic."""
    topic = rng.choice(topics)
    first, second = rng.sample(topic.intents, 2)
    return filled(rng, topic, rng.choice(first), rng.choice(second))


def different_filler(rng: Random, topics: list[Topic]) -> Pair:
    """One intent asked about two things, in the same or in another wording."""
    topic = rng.choice([topic for topic in topics if topic.fillers])
    intent = rng.choice([intent for intent in topic.intents if "{x}" in intent[0]])
    first, second = rng.sample(topic.fillers, 2)
    return rng.choice(intent).replace("{x}", first), rng.choice(intent).replace("{x}", second)


def different_topic(rng: Random, topics: list[Topic]) -> Pair:
    """Two questions that have nothing to do with each other."""
    one, other = rng.sample(topics, 2)
    first, _ = filled(rng, one, rng.choice(rng.choice(one.intents)), "")
    second, _ = filled(rng, other, rng.choice(rng.choice(other.intents)), "")
    return first, second


def different_pairs(rng: Random, topics: list[Topic], count: int) -> list[Pair]:
    """Write `count` pairs of different questions in the proportions of DIFFERENCES."""
    makers = {"intent": different_intent, "filler": different_filler, "topic": different_topic}
    seen: dict[frozenset[str], Pair] = {}
    while len(seen) < count:
        kind = rng.choices(list(DIFFERENCES), weights=list(DIFFERENCES.values()))[0]
        pair = makers[kind](rng, topics)
        seen.setdefault(frozenset(pair), pair)
    return list(seen.values())


def rows(rng: Random, split: str, count: int) -> list[tuple[str, str, str]]:
    """Write `count` different (question1, question2, same) rows, half of each label, in mixed order."""
    topics = parse_topics(TRAIN_TOPICS if split == "train" else DEV_TOPICS)
    same = rng.sample(same_pairs(rng, topics), count // 2)
    labelled = [(pair, "1") for pair in same]
    labelled += [(pair, "0") for pair in different_pairs(rng, topics, count - len(same))]
    rng.shuffle(labelled)
    result = []
    for pair, label in labelled:
        left, right = rng.sample(pair, 2)
        result.append((left, right, label))
    return result
