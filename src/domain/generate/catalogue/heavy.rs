//! Catalogue of the three most frequent categories: heavy equipment, earthmoving, lifting.

use super::{Category, Class, class};

/// Big machines that move ground in bulk.
pub(super) const HEAVY_EQUIPMENT: Category = Category { name: "Heavy Equipment", classes: HEAVY_EQUIPMENT_CLASSES };

const HEAVY_EQUIPMENT_CLASSES: &[Class] = &[
    class(
        "Bulldozer",
        "BD",
        (9_000, 48_000),
        (350_000, 2_100_000),
        &[("Caterpillar", "D6T"), ("Caterpillar", "D8T"), ("Komatsu", "D155AX-8"), ("Komatsu", "D375A-8"), ("Caterpillar", "D11T")],
    ),
    class(
        "Articulated Dump Truck",
        "AT",
        (12_500, 24_000),
        (460_000, 760_000),
        &[("Volvo", "A30G"), ("Bell", "B45E"), ("Caterpillar", "745")],
    ),
    class(
        "Rigid Dump Truck",
        "RT",
        (22_000, 46_000),
        (900_000, 1_900_000),
        &[("Caterpillar", "773G"), ("Komatsu", "HD605-8"), ("Caterpillar", "777G")],
    ),
    class(
        "Pipelayer",
        "PL",
        (14_000, 38_000),
        (420_000, 1_250_000),
        &[("Caterpillar", "PL61"), ("Caterpillar", "PL72"), ("Caterpillar", "PL83")],
    ),
    class(
        "Scraper",
        "SC",
        (18_000, 36_000),
        (700_000, 1_450_000),
        &[("Caterpillar", "621K"), ("Caterpillar", "631K"), ("Caterpillar", "657G")],
    ),
];

/// Digging, loading and levelling.
pub(super) const EARTHMOVING: Category = Category { name: "Earthmoving", classes: EARTHMOVING_CLASSES };

const EARTHMOVING_CLASSES: &[Class] = &[
    class(
        "Excavator",
        "EX",
        (6_500, 26_000),
        (180_000, 680_000),
        &[("Caterpillar", "320 GC"), ("Komatsu", "PC210LC-11"), ("Caterpillar", "336F L"), ("Volvo", "EC480E"), ("Komatsu", "PC490LC-11")],
    ),
    class(
        "Wheel Loader",
        "WL",
        (6_000, 17_000),
        (220_000, 590_000),
        &[("Caterpillar", "950M"), ("Komatsu", "WA470-8"), ("Volvo", "L220H")],
    ),
    class(
        "Motor Grader",
        "MG",
        (7_000, 14_500),
        (280_000, 560_000),
        &[("Caterpillar", "120M"), ("Komatsu", "GD655-6"), ("Caterpillar", "140M")],
    ),
    class("Backhoe Loader", "BH", (2_900, 4_900), (92_000, 155_000), &[("JCB", "3CX"), ("Case", "580SN"), ("John Deere", "310SL")]),
    class("Mini Excavator", "MX", (2_100, 4_300), (45_000, 98_000), &[("Kubota", "U35-4"), ("Bobcat", "E50"), ("Takeuchi", "TB260")]),
    class("Skid Steer Loader", "SS", (1_900, 3_600), (40_000, 78_000), &[("Bobcat", "S650"), ("Caterpillar", "262D3")]),
];

/// Cranes of all kinds.
pub(super) const LIFTING: Category = Category { name: "Lifting", classes: LIFTING_CLASSES };

const LIFTING_CLASSES: &[Class] = &[
    class(
        "Crane",
        "CR",
        (22_000, 98_000),
        (1_150_000, 4_900_000),
        &[
            ("Liebherr", "LTM 1100-5.2"),
            ("Grove", "GMK4100L"),
            ("Tadano", "ATF 220G-5"),
            ("Liebherr", "LTM 1250-6.1"),
            ("Liebherr", "LTM 1500-8.1"),
        ],
    ),
    class(
        "Rough Terrain Crane",
        "RC",
        (10_500, 28_000),
        (420_000, 1_150_000),
        &[("Grove", "RT540E"), ("Tadano", "GR-1000XL"), ("Grove", "RT890E")],
    ),
    class(
        "Crawler Crane",
        "CC",
        (28_000, 165_000),
        (1_400_000, 8_200_000),
        &[("Manitowoc", "MLC165"), ("Liebherr", "LR 1300"), ("Manitowoc", "MLC300"), ("Liebherr", "LR 1600/2")],
    ),
    class(
        "Tower Crane",
        "TC",
        (16_000, 46_000),
        (650_000, 1_900_000),
        &[("Potain", "MDT 219"), ("Liebherr", "280 EC-H"), ("Potain", "MD 559")],
    ),
    class("Boom Truck", "BT", (6_800, 13_500), (210_000, 430_000), &[("National Crane", "NBT30H"), ("National Crane", "NBT40")]),
];
