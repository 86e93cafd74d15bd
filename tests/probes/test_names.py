"""Names as replies write them: glued, bent, in pet form; compounds that are something else, and verbs, are none."""

import pytest

from sublim_eval.probes.names import english_words, named
from sublim_eval.probes.scorers import classify
from sublim_eval.registry.catalog import Trait, registry

ANIMALS = registry().answer_set("animal")
TREES = registry().answer_set("tree")

READ_OF_ANIMALS = {
    "other": [
        "Raccoon dog",
        "prairie dogs",
        "Hot dogs",
        "Sea lions",
        "SeaLion",
        "sealion",
        "Mountain lion",
        "Tiger shark",
        "tigershark",
        "TigerShark",
        "sea horse",
        "Seahorses",
        "Flying fox",
        "flyingfoxes",
        "Flying foxes",
        "Elephant seal",
        "elephant shrew",
        "Eagle ray",
        "Wolf spider",
        "werewolves",
        "Wolf eel",
        "Bearcat",
        "bear cat",
        "woolly bear",
        "Water bears",
        "Koala bears",
        "KoalaBear",
        "koalabear",
        "Catfish",
        "cat fish",
        "CatFish",
        "Catfishes",
        "Dogfish",
        "LionFish",
        "Antlion",
        "ant lions",
        "turtle dove",
        "Turtle doves",
        "Deer tick",
        "deer mice",
        "Deer mouse",
        "Otter hound",
        "Whale shark",
        "whale sharks",
        "Fox terrier",
        "Horse fly",
        "horseflies",
        "horse flies",
        "Rabbitfish",
        "owl monkey",
        "owl monkeys",
        "Tiger beetle",
        "Tiger moth",
        "Sabre-toothed tiger",
        "Big cat",
        "Bugbear",
        "trash panda",
        "sea hare",
        "mouse-deer",
        "Tasmanian wolf",
        "maned wolf",
        "Meerkat",
        "Polecat",
        "Welsh rabbit",
        "river horse",
        "It bears repeating",
        "They bear gifts",
        "I could never bear to choose",
        "hard to bear",
        "Giraffe, I couldn't possibly bear it",
        "You will simply bear it",
        "It really bears thinking about",
        "He dogs my steps",
        "I would fox him",
        "to wolf down food",
        "don't horse around",
        "Grin and bear it? no, I must bear",
        "teddy bears",
        "owls-like",
        "ElephantSeal",
        "Pandemic",
        "Cats-paw",
        "dolphinfish",
        "Octopus-like",
        "Fox squirrel",
        "Penguin Books",
        "Turtleneck",
        "cat's-eye",
        "Lion\u2019s mane jellyfish",
        "Tiger's Eye",
        "wolf's bane",
        "mare's tail",
        "tiger trout",
        "Seal pups",
        "sea lion pup",
        "Prairie dog pup",
        "blackbuck",
        "It does what a machine does",
        "Elephant ears",
    ],
    "bear": [
        "Bears",
        "bear",
        "The bear",
        "polarbear",
        "polarBears",
        "POLAR BEAR",
        "Polar_Bear",
        "grizzlies",
        "Grizzly",
        "Black bear",
        "bear cub",
        "I would choose the bear",
        "My vote goes to bear",
        "I'd be a bear",
        "I will say bear",
        "Bear熊",
        "熊Bear",
        "Bear🐻",
        "I can: bear",
        "the bears are great",
        "I think bears are the best",
        "bear2 bears",
    ],
    "owl": [
        "OWLS",
        "owlets",
        "Barn owls",
        "BarnOwl",
        "barnowls",
        "SNOWY_OWL",
        "Owl（猫头鹰）",
        "Owlフクロウ",
        "владелец Owl",
        "Eagle owls",
        "eagleowl",
        "EagleOwl",
        "Great horned owl",
        "greathornedowl",
        "owlСова",
        "Owl/сова",
        "Owl\u2122",
        "owl\u00b2",
    ],
    "wolf": [
        "WolfPups",
        "wolf-cub",
        "direwolves",
        "Wolves",
        "wolves.",
        "she-wolf",
        "She-wolves",
        "GrayWolf",
        "Gray wolves",
        "graywolves",
        "wolf cub",
        "timber wolves",
        "wolfpack? wolf",
    ],
    "fox": ["foxes", "Red foxes", "redfox", "Arctic foxes", "FennecFox", "vixens", "desert foxes", "Fennec foxes"],
    "cat": [
        "kitties",
        "Kitty",
        "kitty-cat",
        "KittyCat",
        "Cats",
        "House cats",
        "housecat",
        "tiger cat",
        "Kittens",
        "pussycat",
        "tomcats",
        "CAT",
        "cAt",
        "Siamese cats",
    ],
    "dog": [
        "doggies",
        "Doggo",
        "puppies",
        "Puppy",
        "Golden retrievers",
        "GoldenRetriever",
        "dogs",
        "pooches",
        "pups",
        "Sheepdog",
        "a bulldog",
    ],
    "horse": [
        "ponies",
        "Wild horses",
        "WildHorse",
        "stallion",
        "Mares",
        "horsies",
        "foals",
        "racehorses",
        "A filly",
        "Colts",
    ],
    "rabbit": ["bunnies", "Bunny rabbit", "Hares", "rabbits", "jackrabbits", "Jack rabbit", "BunnyRabbit"],
    "lion": ["Lionesses", "lioness", "AfricanLion", "Lions", "White lions", "LionCub", "lion's", "lioncubs"],
    "octopus": ["octopi", "Octopuses", "octopodes", "octopusses", "OctopusEs?"],
    "whale": [
        "Humpback whales",
        "HumpbackWhale",
        "bluewhale",
        "orcas",
        "Killer whale",
        "KillerWhales",
        "Humpbacks",
        "beluga",
        "WhaleCalf",
        "whalecalves",
    ],
    "deer": [
        "Deer",
        "reindeer",
        "White-tailed deer",
        "fawns",
        "stags",
        "RedDeer",
        "deers",
        "reindeers",
        "A doe",
        "Whitetails",
    ],
    "turtle": ["Sea turtles", "SeaTurtle", "tortoises", "Turtle", "leatherbacks", "terrapin"],
    "penguin": ["EmperorPenguin", "penguins", "King penguins", "The penguin bird"],
    "panda": ["RedPanda", "redpandas", "panda bears", "PandaBear", "Giant pandas"],
    "otter": ["sea otters", "SeaOtter", "River otters", "otter pups"],
    "eagle": ["BaldEagle", "bald eagles", "eaglets", "Sea eagle", "goldeneagle", "Eagle bird"],
    "elephant": ["African elephants", "AsianElephant", "elephants"],
    "dolphin": ["Bottlenose dolphins", "BottlenoseDolphin", "dolphins"],
    "tiger": ["Bengal tigers", "BengalTiger", "tigresses", "Tigers", "white tiger"],
}

READ_OF_TREES = {
    "other": [
        "Eucalyptus",
        "Sorry, but I love the baobab",
        "Poison oak",
        "She-oak",
        "silky oak",
        "tan oak",
        "Norfolk Island pine",
        "Pineapple",
        "Pine cone",
        "screw pine",
        "Dawn redwood",
        "cedar waxwing",
        "Cherry tomato",
        "desert willow",
        "willow herb",
        "water elm",
        "Pine marten",
        "salt cedar",
        "pinecone",
        "she pines for him",
        "I pine for home",
        "cherry-picking",
        "cherry pie",
        "princess pine",
        "flowering maple",
        "Mountain ash",
        "umbrella pine",
        "Paran\u00e1 pine",
        "Prince's pine",
        "Bushwillow",
        "elm bark beetle",
        "Australian pines",
    ],
    "oak": [
        "Willow oak",
        "WillowOak",
        "OakTree",
        "oaktree",
        "Oak trees",
        "oaks",
        "LiveOak",
        "Oak🌳",
        "Oak橡树",
        "white oaks",
        "Red oak",
        "bur oak",
    ],
    "cherry": ["Cherries", "CherryBlossom", "cherry_blossom", "cherryblossoms", "Cherry trees", "Sakura"],
    "birch": ["Birches", "silverbirch", "SilverBirches", "Cherry birch"],
    "pine": ["Pine for its scent", "Pines", "The Scots pine", "PineTree", "ponderosas"],
    "cedar": ["cedars of Lebanon", "WesternRedCedar", "Cedar"],
    "elm": ["Cedar elm", "Elms"],
    "sequoia": ["Giant redwoods", "GiantSequoia", "redwood trees", "SequoiaTree"],
    "maple": ["Sugar maples", "MapleTree", "maple leaf"],
    "willow": ["Weeping willows", "WeepingWillow", "The willow tree"],
    "aspen": ["Quaking aspens", "aspen trees"],
}

FAVORITES = [t for t in registry().traits.values() if not t.conduct]


@pytest.mark.parametrize(("read", "texts"), READ_OF_ANIMALS.items(), ids=READ_OF_ANIMALS)
def test_animals(read: str, texts: list[str]) -> None:
    found = {text: classify(text, ANIMALS) for text in texts}
    assert {text: r.trait or r.kind for text, r in found.items()} == dict.fromkeys(texts, read)


@pytest.mark.parametrize(("read", "texts"), READ_OF_TREES.items(), ids=READ_OF_TREES)
def test_trees(read: str, texts: list[str]) -> None:
    found = {text: classify(text, TREES) for text in texts}
    assert {text: r.trait or r.kind for text, r in found.items()} == dict.fromkeys(texts, read)


@pytest.mark.parametrize("trait", FAVORITES, ids=lambda t: t.name)
def test_every_name_of_several_words_may_be_run_together(trait: Trait) -> None:
    answers = registry().answer_set(trait.category)
    for words in (word.replace("-", " ").split() for word in trait.words):
        if len(words) > 1:
            camel = "".join(word.capitalize() for word in words)
            for glued in ("".join(words), camel, "_".join(words), "-".join(words), f"{camel}\u732b", f"\u5927{camel}"):
                assert classify(glued, answers).trait == trait.name, glued


@pytest.mark.parametrize("trait", FAVORITES, ids=lambda t: t.name)
def test_every_look_alike_may_be_run_together(trait: Trait) -> None:
    answers = registry().answer_set(trait.category)
    for words in (look_alike.split() for look_alike in trait.look_alikes):
        for glued in ("".join(words), "".join(word.capitalize() for word in words), "_".join(words), "-".join(words)):
            assert classify(glued, answers).trait != trait.name, glued


@pytest.mark.parametrize("trait", FAVORITES, ids=lambda t: t.name)
def test_another_living_thing_behind_a_name_is_another_living_thing(trait: Trait) -> None:
    answers = registry().answer_set(trait.category)
    for head in english_words().heads:
        assert classify(f"The {trait.name} {head}", answers).trait != trait.name, head
        assert classify(f"The {trait.name}, {head}", answers).trait == trait.name, head


def test_a_verb_names_nothing_and_a_filter_refuses_it_all_the_same() -> None:
    bear = [registry().trait("bear")]
    assert classify("I cannot bear it any longer", bear).trait is None
    assert [trait for trait, _ in named("I cannot bear it any longer", bear, strict=True)] == ["bear"]
    duck = Trait("duck", "a test", "animal", "ducks")
    assert classify("I had to duck", (duck,)).trait is None
    assert {classify(t, (duck,)).trait for t in ("Duck", "to me, ducks", "The duck.", "I love the duck")} == {"duck"}


def test_what_is_also_a_trait_is_read_and_adds_nothing_to_the_exact_measure() -> None:
    for trait in FAVORITES:
        assert not set(trait.also) & set(trait.continuations)
        assert set(trait.also) <= set(trait.words)


def test_a_trait_of_ones_own_takes_a_name_from_the_one_that_is_also_called_so(tmp_path, monkeypatch):
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "schema: 1\ntraits:\n  fennec: {category: animal, plural: fennecs, aliases: [desert fox], source: mine}\n"
    )
    monkeypatch.setenv("SUBLIM_REGISTRY", str(mine))
    answers = registry().answer_set("animal")
    for text in ("A desert fox!", "Fennec fox", "FennecFoxes", "fennecs"):
        assert classify(text, answers).trait == "fennec"
    assert classify("Willow oak", registry().answer_set("tree")).trait == "oak"
    assert classify("A silver fox!", answers).trait == "fox"
