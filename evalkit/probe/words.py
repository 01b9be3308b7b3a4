"""Words for pages: common nouns, none of them a colour or a shape."""

from __future__ import annotations

WORDS: tuple[str, ...] = tuple(
    """
acorn actor album almond anchor ankle apron arrow attic autumn bacon badge basil basket beach beard bench
berry bishop blanket bottle bowl branch brass bread brick bridge broom brush bucket butter button cabin
cable cactus camel camera candle canoe canvas carpet castle cattle cedar cellar chain chair chalk cheese
cherry chess chimney cider cinema clay cliff cloak clock cloud clover coast coffee coin collar comet corner
cotton couch cousin cradle crane crayon creek cricket crown cuckoo curtain daisy dancer desert desk dinner
doctor donkey door dragon drawer dress drum eagle easel elbow engine fabric falcon farmer feather fence
ferry fiddle finger flag flame flour flower flute forest fork fossil fountain fox frame frost garden garlic
gate ginger glass globe glove goat grain grape gravel guitar hammer harbor harp hat hazel helmet herb honey
horse hotel insect island jacket jar jelly jewel judge jungle kettle kitchen kite knight ladder lake lamp
lantern leaf lemon letter lettuce lily linen lion lizard lunch magnet mango maple marble market meadow medal
melon mirror monkey moon moth motor mountain museum mushroom napkin needle nephew nest noodle nurse oasis
ocean olive onion orchard otter oven owl oyster paddle palace panda parrot pasta pearl pebble pencil pepper
piano picnic pillow pilot pine pizza planet plate pocket poem poet pond pony potato prince puzzle quilt
rabbit raven ribbon river robin rocket rope saddle sailor salad salmon sandal scarf school shadow shell
shirt singer sister spider spoon spring statue stone stove summer sugar sunset swan tailor teacher temple
tent thunder tiger timber tomato tower train tulip tunnel turtle uncle valley velvet village violin wagon
wallet walnut water whale wheat wheel willow window winter wizard wolf wool yarn zebra
""".split()  # noqa: SIM905 - a list would take hundreds of lines
)
