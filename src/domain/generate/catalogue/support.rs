//! Catalogue of what carries people and material: handling, access, transport.

use super::{Category, Class, class};

/// Lifting and stacking loads inside the site.
pub(super) const MATERIAL_HANDLING: Category = Category { name: "Material Handling", classes: MATERIAL_HANDLING_CLASSES };

const MATERIAL_HANDLING_CLASSES: &[Class] = &[
    class(
        "Telehandler",
        "TH",
        (3_200, 8_200),
        (105_000, 260_000),
        &[("JLG", "742"), ("JLG", "1055"), ("Manitou", "MT 1840"), ("Manitou", "MRT 2550")],
    ),
    class("Forklift", "FL", (1_400, 5_200), (32_000, 145_000), &[("Toyota", "8FGU25"), ("Hyster", "H80FT"), ("Hyster", "H155FT")]),
    class("Reach Stacker", "RS", (16_000, 24_500), (480_000, 720_000), &[("Konecranes", "SMV 4531"), ("Kalmar", "DRG450")]),
];

/// Work at height.
pub(super) const ACCESS_EQUIPMENT: Category = Category { name: "Access Equipment", classes: ACCESS_EQUIPMENT_CLASSES };

const ACCESS_EQUIPMENT_CLASSES: &[Class] = &[
    class(
        "Boom Lift",
        "BL",
        (2_300, 11_500),
        (78_000, 420_000),
        &[("Genie", "Z-45"), ("JLG", "600AJ"), ("Genie", "S-85"), ("JLG", "1350SJP")],
    ),
    class("Scissor Lift", "SL", (650, 3_100), (15_000, 92_000), &[("Genie", "GS-2632"), ("JLG", "3246ES"), ("Skyjack", "SJ6832 RT")]),
    class("Mast Climber", "MC", (3_400, 6_900), (88_000, 170_000), &[("Fraco", "ACT-8"), ("Alimak", "MC 450")]),
];

/// Vehicles and trailers.
pub(super) const TRANSPORT: Category = Category { name: "Transport", classes: TRANSPORT_CLASSES };

const TRANSPORT_CLASSES: &[Class] = &[
    class("Pickup Truck", "PU", (950, 2_100), (34_000, 68_000), &[("Toyota", "Hilux"), ("Ford", "F-150"), ("Ford", "F-250")]),
    class("Truck Tractor", "TT", (4_800, 8_800), (135_000, 215_000), &[("Mack", "Anthem"), ("Kenworth", "T880")]),
    class("Water Truck", "WT", (4_200, 9_800), (120_000, 310_000), &[("Kenworth", "T370"), ("Peterbilt", "348")]),
    class("Lowboy Trailer", "LB", (2_600, 6_400), (72_000, 185_000), &[("Trail King", "TK110HDG"), ("Fontaine", "Magnitude 55")]),
    class("Crew Bus", "CB", (2_400, 4_600), (62_000, 140_000), &[("Toyota", "Coaster"), ("Blue Bird", "Vision")]),
    class(
        "Self-Propelled Modular Transporter",
        "SP",
        (38_000, 92_000),
        (1_300_000, 3_100_000),
        &[("Goldhofer", "PST/SL-E"), ("Scheuerle", "SPMT F300")],
    ),
];
