"""The words of invitation codes: short, common, easy to say and to type."""

_TEXT = """
acorn actor adult agent album alley almond amber anchor angel animal ankle answer ant apple apron arch arena
arm armor arrow artist ash atlas atom attic aunt author autumn avocado axis baby badge badger bagel baker balcony
ball ballet balloon bamboo banana band banjo bank banner barber bark barley barn barrel basil basin basket bath
battery beach beacon bead beak beam bean bear beaver bed bee beef beetle bell belt bench berry bicycle bike
bird biscuit bishop bison blade blanket blaze block blossom blue boat bone bonfire book boot border bottle boulder
bowl box boy bracelet brain branch brass bread breeze brick bridge broccoli bronze broom brother brush bubble
bucket buffalo bugle builder bull bun bunny burger bus bush butter button cabbage cabin cable cactus cafe cage
cake calf camel camera camp canal candle candy cannon canoe canvas canyon cape captain car caramel caravan card
cargo carpet carrot cart castle cat cattle cave cedar celery cellar cello cement chain chair chalk channel
chapel cheese cheetah cherry chess chest chicken chief child chimney chin chocolate choir cider cinema circle
circus citrus city clam clarinet class clay clerk cliff clock cloth cloud clover clown club coach coal coast coat
cobra cocoa coconut coffee coin collar colt comet comic compass concert cook cookie copper coral cork corn corner
cotton couch cougar country cousin cow coyote crab cradle crane crater crayon cream creek cricket crocus crop
crow crowd crown cruise crystal cube cucumber cup cupboard curtain curve cushion custard cycle daisy dance
dancer date daughter dawn day deer dentist desert desk dessert dew diamond diary dice dingo dinner dish diver dock
doctor dog doll dollar dolphin domino donkey donut door dough dove dragon drawer dream dress drill drink drum duck
dune dust eagle ear earth easel east echo eel egg eight elbow elephant elevator elf elm ember emerald emu
engine envelope evening eye fabric face factory fairy falcon family farm farmer father feast feather fence fern
ferry festival fiddle field fig film finch finger fire fish flag flame flamingo flask fleece flint flock flour
flower flute fly foal fog forest fork fort fossil fountain fox frame freckle friend frog frost fruit fudge
funnel galaxy gallery game garage garden garlic gate gazelle gecko gem ghost giant ginger giraffe girl glacier
glass globe glove glue goat gold golf gondola goose gorilla grain granite grape grass gravel gravy green grill
grove guard guest guide guitar gull gym hail hair hall hammer hammock hamster hand handle harbor hare harp
harvest hat hawk hay hazel heart heather hedge helmet hen herb hero heron highway hill hippo hobby hockey holiday
holly home honey hood hoof hook horizon horn horse hose hospital hotel hour house human hunter husky hut ice
igloo iguana insect iron island ivory ivy jacket jaguar jam jar jasmine jazz jeans jelly jersey jewel jigsaw
job jockey judge juggler juice jungle junior kangaroo kayak kennel kettle key kid kidney king kingdom kiosk
kitchen kite kitten kiwi knee knight knot koala label lace ladder lady lagoon lake lamb lamp land lantern laptop
lark laser laundry lava lavender lawn lawyer leaf leather lemon lemur lens lentil leopard letter lettuce lever
library lighthouse lily lime linen lion lip liquid list lizard llama lobster locket log lorry lotus lumber
lunch lute lynx machine magic magnet magpie maid mail mango map maple marble march margin market marsh mask
mast match mayor meadow meal medal melody melon menu mermaid metal meteor middle midnight milk mill mineral
mint minute mirror mist mitten mobile model mole moment monday monkey monster month moon moose morning mosaic
moss moth mother motor mountain mouse mouth movie muffin mug mule muscle museum mushroom music mustard nail napkin
nature navy neck necklace needle neighbor nephew nest net nettle newt niece night noodle noon north nose
notebook novel number nurse nut nutmeg oak oasis oat ocean octopus office olive omelet onion opal opera orange
orbit orchard orchid organ ostrich otter outfit oval oven owl owner ox oxygen oyster packet paddle page painter
palace palm pan pancake panda panel pansy panther papaya paper parade parcel parent park parrot parsley party
pasta pastry path patio peach peacock peanut pear pearl pebble pedal pelican pen pencil penguin peony people
pepper perch perfume petal phone photo piano pickle picnic picture pie pig pigeon pillow pilot pine pineapple
pink pipe pirate pistachio pizza planet plank plant plate platypus player plaza plum plumber pocket poem poet
polar pole police polo pond pony pool poppy porch port postcard poster pot potato pottery powder prairie prawn
present prince printer prize puddle puffin pulley pumpkin puppet puppy purple purse puzzle pyramid quail quarry
quartz queen quilt quiz rabbit raccoon racket radar radio radish raft railway rain rainbow raisin ramp ranch
raspberry raven ravine razor recipe record red reed reef referee reindeer ribbon rice riddle ring river road
robin robot rock rocket roof room rooster root rope rose rover ruby rudder rug ruler runner sack saddle safari
sail sailor salad salmon salt sand sandal sandwich sapphire sardine satin sauce sausage saxophone scarf school
science scooter score scout screen screw sea seagull seal season seat second secret seed sesame seven shadow
shark sheep shelf shell shepherd ship shirt shoe shop shore shoulder shovel shower shrimp shrub shuttle sign
silence silk silver singer sister skate sketch ski skin skirt skunk sky sled sleeve sleigh slipper sloth smile smoke
snail snake snow soap soccer sock sofa soil soldier song soup south spade spark sparrow spice spider spinach
spiral sponge spoon sport spring sprout square squid squirrel stable stadium stage stair stamp star starfish
statue steam steel stem step stone stool store stork storm story stove straw stream street string student studio
sugar suit suitcase summer sun sunday sunset surf swallow swan sweater swing sword symbol syrup table tablet tail
tailor talent tango tank tapestry taxi tea teacher team teapot temple tennis tent theater thimble thistle thorn
throat throne thumb thunder ticket tide tiger tile timber tin toad toast toe tofu tomato tongue tooth topaz torch
tornado tortoise toucan towel tower town toy tractor trail train tram treasure tree triangle trophy trout truck
trumpet trunk tuba tulip tuna tunnel turkey turnip turtle tuxedo twig twin umbrella uncle unicorn uniform valley
vanilla vase vault velvet vendor verse vessel vest village vine vineyard violet violin visitor voice volcano
voyage vulture waffle wagon waiter wall wallet walnut walrus waltz warrior wasp watch water wave wax weasel
weather weaver wedding week whale wheat wheel whisker whistle widow wife wig willow wind window wine wing
winner winter wire wizard wolf wombat wood wool word worker world worm wren wrist writer yacht yak yard yarn year
yellow yoga yogurt zebra zero zigzag zinc zipper zoo zone
"""

WORDS: tuple[str, ...] = tuple(_TEXT.split())
"""At least 1,024 distinct words: two of them are 20 bits, of which three tries are nothing."""
