//! What can be rented or bought: categories, their classes, and per class makes, models and prices.
//!
//! Makes and models are real product lines; rates and prices are plausible USD ranges, not quotes.
//! Order carries meaning: earlier categories and classes are drawn more often, and the models of a
//! class go from small to large, which is how `price` finds the price of a model.

mod heavy;
mod site;
mod support;

use super::draw::Draws;

/// All categories, the most frequent first.
pub(super) static CATEGORIES: [Category; 12] = [
    heavy::HEAVY_EQUIPMENT,
    heavy::EARTHMOVING,
    heavy::LIFTING,
    support::MATERIAL_HANDLING,
    support::ACCESS_EQUIPMENT,
    site::POWER_GENERATION,
    support::TRANSPORT,
    site::PUMPS_AND_AIR,
    site::COMPACTION_AND_PAVING,
    site::CONCRETE,
    site::WELDING,
    site::DRILLING_AND_PILING,
];

/// A category and the classes that belong to it, the most frequent first.
pub(super) struct Category {
    pub(super) name: &'static str,
    pub(super) classes: &'static [Class],
}

/// A class of machines. A class' name is in one category only.
pub(super) struct Class {
    pub(super) name: &'static str,
    /// First letters of the asset tags.
    pub(super) tag: &'static str,
    /// Lowest and highest rate in USD a month.
    pub(super) monthly_rate: (u32, u32),
    /// Lowest and highest price in USD.
    pub(super) purchase_price: (u32, u32),
    /// (manufacturer, model), from small to large.
    pub(super) models: &'static [(&'static str, &'static str)],
}

/// One choice from the catalogue.
pub(super) struct Machine {
    pub(super) category_position: usize,
    pub(super) category: &'static Category,
    pub(super) class: &'static Class,
    pub(super) model_position: usize,
    pub(super) manufacturer: &'static str,
    pub(super) model: &'static str,
}

/// Chooses a machine; the n-th category (and in it the n-th class) comes 1/n as often as the first.
pub(super) fn draw_machine(draws: &mut Draws) -> Machine {
    let category_position = draws.zipf(CATEGORIES.len());
    let category = &CATEGORIES[category_position];
    let class = &category.classes[draws.zipf(category.classes.len())];
    // Models are ordered by size, not by fame: all equally likely.
    let model_position = draws.position(class.models.len());
    let (manufacturer, model) = class.models[model_position];
    Machine { category_position, category, class, model_position, manufacturer, model }
}

/// Shorthand for the tables: name, tag, monthly rate and purchase price in USD, models.
const fn class(
    name: &'static str,
    tag: &'static str,
    monthly_rate: (u32, u32),
    purchase_price: (u32, u32),
    models: &'static [(&'static str, &'static str)],
) -> Class {
    Class { name, tag, monthly_rate, purchase_price, models }
}
