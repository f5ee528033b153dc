//! Invented projects: codes and names for as many organizations as somebody asks for.
//!
//! Put together from landscape words and kinds of plant. They are meant to name no real project,
//! company or person.

/// First part of an invented project.
const PLACES: [(&str, &str); 20] = [
    ("AMB", "Amber Flats"),
    ("BAS", "Basalt Point"),
    ("COB", "Cobalt Reach"),
    ("DUN", "Dune Crossing"),
    ("EMB", "Ember Ridge"),
    ("FJO", "Fjord Head"),
    ("GRA", "Granite Bend"),
    ("HER", "Heron Shoals"),
    ("IND", "Indigo Bay"),
    ("JUN", "Juniper Gap"),
    ("LAG", "Lagoon East"),
    ("MES", "Mesa Verge"),
    ("NIM", "Nimbus Hill"),
    ("ONY", "Onyx Narrows"),
    ("PRA", "Prairie Fork"),
    ("QUA", "Quartz Hollow"),
    ("SIE", "Sierra Notch"),
    ("TUN", "Tundra Gate"),
    ("UMB", "Umber Plain"),
    ("WAD", "Wadi North"),
];

/// Second part of an invented project.
const PLANTS: [(&str, &str); 12] = [
    ("LNG", "LNG"),
    ("RF", "Refinery"),
    ("PW", "Power Station"),
    ("MN", "Mine"),
    ("PT", "Port"),
    ("PL", "Pipeline"),
    ("CH", "Chemicals"),
    ("WT", "Water Works"),
    ("RL", "Rail Yard"),
    ("H2", "Hydrogen"),
    ("SM", "Smelter"),
    ("TM", "Terminal"),
];

/// Code and name of the n-th invented project; the first 240 have plain codes, then a number follows.
pub(super) fn invent_project(number: u32) -> (String, String) {
    let place_position = number as usize % PLACES.len();
    let round = number as usize / PLACES.len();
    let (short_place, place) = PLACES[place_position];
    // The kinds of plant shift by one each round: 20 × 12 different pairs.
    let (short_plant, plant) = PLANTS[(place_position + round) % PLANTS.len()];
    let (mut code, mut name) = (format!("{short_place}{short_plant}"), format!("{place} {plant}"));
    if round >= PLANTS.len() {
        let phase = round / PLANTS.len() + 1;
        code = format!("{code}{phase}");
        name = format!("{name} Phase {phase}");
    }
    (code, name)
}
