//! Random worlds and questions: blocks of records, groups, counts and totals are what the model says.

use super::model::{figure, meets, normalized, value_of};
use crate::merged_model::{Scene, World, any_field, check_all, expected_row, question, world};
use crate::support::TestApp;
use crate::support::model::{Key, Merged, Object, compare, key};
use pfa_vanguard::domain::field::{Field, Kind};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Columns that can be valued, with what can be made of them.
const VALUES: [(&str, &[&str]); 8] = [
    ("monthlyRate", &["sum", "avg", "min", "max", "count"]),
    ("purchasePrice", &["sum", "avg", "min", "max", "count"]),
    ("forecastEnd", &["min", "max", "count"]),
    ("model", &["min", "max", "count"]),
    ("planCost", &["sum"]),
    ("forecastCost", &["sum"]),
    ("actualCost", &["sum"]),
    ("variance", &["sum"]),
];

#[derive(Debug, Clone)]
struct Asked {
    tree: Object,
    model: Object,
    group_by: Vec<&'static str>,
    values: Vec<(&'static str, &'static str)>,
    sort: Vec<(&'static str, bool)>,
    block: usize,
}

#[test]
fn rows_agree_with_the_model() {
    check_all(60, &(world(), vec(asked(), 1..4)), &async |app, organization, (world, questions): (World, Vec<Asked>)| {
        let scene = Scene::set(app, organization, &world).await;
        for (user, session) in scene.readers {
            let records = scene.records(session);
            for question in &questions {
                let asker = Asker { app, organization, user, session, question };
                asker.check(&records).await?;
            }
        }
        Ok(())
    });
}

struct Asker<'a> {
    app: &'a TestApp,
    organization: &'a str,
    user: &'a str,
    session: Option<Uuid>,
    question: &'a Asked,
}

impl Asker<'_> {
    async fn check(&self, records: &[Merged]) -> Result<(), TestCaseError> {
        let Asked { tree, model, .. } = self.question;
        let matching: Vec<_> = records.iter().filter(|record| meets(&record.data, tree, model)).collect();
        let mut totals = self.figures(&matching);
        totals.insert("recordCount".into(), json!(matching.len()));
        let mut opened = Vec::new();
        let mut within = matching;
        loop {
            let found = self.ask(&opened, &totals).await?;
            let Some(field) = self.question.group_by.get(opened.len()) else {
                let own = |(field, _): &&(&str, bool)| Field::from_key(field).is_some() && !self.question.group_by.contains(field);
                let sort: Vec<_> = self.question.sort.iter().filter(own).map(|(field, is)| ((*field).to_owned(), *is)).collect();
                let default = [("forecastStart".to_owned(), false)];
                within.sort_by(|a, b| compare(a, b, if sort.is_empty() { &default } else { &sort }));
                let expected: Vec<_> = within.iter().map(|record| expected_row(record, None)).collect();
                prop_assert_eq!(found, expected, "records of {:?}", self.question);
                return Ok(());
            };
            let groups = self.groups(field, &opened, &within);
            let expected: Vec<_> = groups.iter().map(|(row, _)| row.clone()).collect();
            prop_assert_eq!(found.iter().map(normalized).collect::<Vec<_>>(), expected, "groups of {:?}", self.question);
            // Into the last group, which is the one without a key if there is one.
            let Some((row, members)) = groups.into_iter().next_back() else { return Ok(()) };
            opened.push(row[*field].clone());
            within = members;
        }
    }

    fn figures(&self, records: &[&Merged]) -> Object {
        self.question.values.iter().map(|(column, aggregate)| ((*column).to_owned(), figure(records, column, aggregate))).collect()
    }

    /// The groups of a level as rows, in order, each with its records.
    fn groups<'r>(&self, field: &str, opened: &[Value], within: &[&'r Merged]) -> Vec<(Value, Vec<&'r Merged>)> {
        let mut members: BTreeMap<Option<Key>, Vec<&Merged>> = BTreeMap::new();
        for record in within {
            members.entry(key(&record.data, field)).or_default().push(record);
        }
        let mut groups: Vec<_> = members
            .into_iter()
            .map(|(key, members)| {
                let mut row = self.figures(&members);
                for (field, key) in self.question.group_by.iter().zip(opened) {
                    row.insert((*field).to_owned(), normalized(key));
                }
                row.insert(field.to_owned(), key.as_ref().map_or(Value::Null, value_of));
                row.insert("_group".into(), json!({"level": opened.len(), "recordCount": members.len()}));
                (row, key, members)
            })
            .collect();
        groups.sort_by(|a, b| self.rank(field, a, b));
        groups.into_iter().map(|(row, _, members)| (Value::Object(row), members)).collect()
    }

    fn rank(&self, field: &str, a: &(Object, Option<Key>, Vec<&Merged>), b: &(Object, Option<Key>, Vec<&Merged>)) -> Ordering {
        let keyed = |x: &Option<Key>, y: &Option<Key>, is_descending: bool| match (x, y) {
            (None, _) | (_, None) => x.is_none().cmp(&y.is_none()),
            _ if is_descending => y.cmp(x),
            _ => x.cmp(y),
        };
        for (column, is_descending) in &self.question.sort {
            let order = if *column == field {
                keyed(&a.1, &b.1, *is_descending)
            } else if self.question.values.iter().any(|(value, _)| value == column) {
                let figure = |row: &Object| figure_key(&row[*column]);
                keyed(&figure(&a.0), &figure(&b.0), *is_descending)
            } else {
                Ordering::Equal
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        keyed(&a.1, &b.1, false)
    }

    /// All rows of a level, in blocks.
    async fn ask(&self, opened: &[Value], totals: &Object) -> Result<Vec<Value>, TestCaseError> {
        let Asked { tree, model, group_by, values, sort, block } = self.question;
        let sort_model =
            |(column, is_descending): &(&str, bool)| json!({"colId": column, "sort": if *is_descending { "desc" } else { "asc" }});
        let mut body = json!({"filter": tree, "filterModel": model, "groupKeys": opened, "session": self.session,
            "rowGroupCols": group_by.iter().map(|field| json!({"id": field, "field": field, "displayName": "shown"})).collect::<Vec<_>>(),
            "valueCols": values.iter().map(|(column, how)| json!({"id": column, "field": column, "aggFunc": how})).collect::<Vec<_>>(),
            "sortModel": sort.iter().map(sort_model).collect::<Vec<_>>(), "pivotCols": [], "pivotMode": false});
        let planner = self.app.planner(self.user).in_organization(self.organization);
        let mut rows = Vec::new();
        loop {
            body["startRow"] = json!(rows.len());
            body["endRow"] = json!(rows.len() + block);
            let answer = planner.post("records/query", body.clone()).await;
            prop_assert_eq!(answer.status.as_u16(), 200, "{}: {}", body, answer.text);
            let mut answer = answer.json();
            prop_assert_eq!(normalized(&answer["grandTotals"]), json!(totals), "totals of {}", body);
            let Value::Array(more) = answer["rows"].take() else { panic!("rows") };
            prop_assert!(more.len() <= *block);
            let is_end = more.len() < *block;
            rows.extend(more);
            if is_end {
                prop_assert_eq!(&answer["rowCount"], &json!(rows.len()), "count of {}", body);
                return Ok(rows);
            }
        }
    }
}

fn figure_key(figure: &Value) -> Option<Key> {
    match figure {
        Value::Number(number) => Some(Key::Amount(crate::support::model::decimal(&number.to_string()))),
        Value::String(text) => Some(Key::Text(text.clone())),
        _ => None,
    }
}

// ---- What is asked for.

fn asked() -> impl Strategy<Value = Asked> {
    let group_by = subsequence(vec!["category", "source", "isActualized", "forecastStart", "monthlyRate"], 0..3).prop_shuffle();
    let values = subsequence(VALUES.to_vec(), 0..4).prop_flat_map(|values| {
        values.into_iter().map(|(column, aggregates)| select(aggregates).prop_map(move |aggregate| (column, aggregate))).collect::<Vec<_>>()
    });
    let column = prop_oneof![any_field(), select(&["planCost", "variance", "category", "monthlyRate"][..])];
    let sort = vec((column, any::<bool>()), 0..3);
    (tree(), prop_oneof![columns(), expression()], group_by, values, sort, 1..6_usize).prop_map(
        |(tree, model, group_by, mut values, mut sort, block)| {
            values.retain(|(column, _)| !group_by.contains(column));
            let mut named = Vec::new();
            sort.retain(|(column, _)| !named.contains(column) && (named.push(*column), true).1);
            // Costs order groups only.
            sort.retain(|(column, _)| !group_by.is_empty() || Field::from_key(column).is_some());
            Asked { tree, model, group_by, values, sort, block }
        },
    )
}

fn tree() -> impl Strategy<Value = Object> {
    let parameters = question().prop_map(|question| {
        let mut object = Object::new();
        for (name, value) in question.parameters {
            let values = object.entry(name).or_insert_with(|| json!([]));
            values.as_array_mut().unwrap().push(value.into());
        }
        object
    });
    let leaf = prop_oneof![2 => comparison(), 1 => parameters];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let list = vec(inner.clone(), 1..4);
        prop_oneof![
            list.clone().prop_map(|list| [("and".to_owned(), json!(list))].into_iter().collect()),
            list.clone().prop_map(|list| [("or".to_owned(), json!(list))].into_iter().collect()),
            inner.clone().prop_map(|inner| [("not".to_owned(), json!(inner))].into_iter().collect()),
            // All in one object.
            (comparison(), list, inner).prop_map(|(mut all, list, inner)| {
                all.insert("or".into(), json!(list));
                all.insert("not".into(), json!(inner));
                all
            }),
        ]
    })
}

fn comparison() -> impl Strategy<Value = Object> {
    any_field().prop_flat_map(|name| {
        let field = Field::from_key(name).unwrap();
        let operators: &[&str] = match field.kind() {
            Kind::Text(_) | Kind::Word(_) => {
                &["eq", "ne", "lt", "gte", "in", "notIn", "between", "contains", "startsWith", "endsWith", "isNull"]
            }
            _ => &["eq", "ne", "lt", "lte", "gt", "gte", "in", "notIn", "between", "isNull", "isNotNull"],
        };
        let maybe = move || prop_oneof![5 => operand(field), 1 => Just(Value::Null)];
        (select(operators), maybe(), [operand(field), operand(field)], vec(maybe(), 0..4)).prop_map(
            move |(op, value, [from, to], values)| {
                let mut keys = json!({"field": name, "op": op});
                match op {
                    "eq" | "ne" => keys["value"] = value,
                    "in" | "notIn" => keys["values"] = json!(values),
                    "between" => (keys["from"], keys["to"]) = (from, to),
                    "isNull" | "isNotNull" => {}
                    _ => keys["value"] = from,
                }
                keys.as_object().unwrap().clone()
            },
        )
    })
}

fn operand(field: Field) -> BoxedStrategy<Value> {
    let texts = &["Lifting", "lifting", "Earth 100%", "Ünï_cödé", "\\", "q\"uote", "%", "_", "1001"][..];
    match field.kind() {
        Kind::Text(_) => select(texts).prop_map(Value::from).boxed(),
        Kind::Word(words) => select(words).prop_map(Value::from).boxed(),
        Kind::Flag => any::<bool>().prop_map(Value::from).boxed(),
        Kind::Amount => {
            let amounts = select(&["0", "15000", "0.01", "30440", "-5", "123.45", "99999999999.9999"][..]);
            amounts.prop_map(|text| serde_json::from_str(text).unwrap()).boxed()
        }
        Kind::Date => {
            let first = chrono::NaiveDate::from_ymd_opt(2025, 1, 1).unwrap();
            (0..40_u64).prop_map(move |week| json!(first + chrono::Days::new(week * 7))).boxed()
        }
    }
}

fn columns() -> impl Strategy<Value = Object> {
    vec(any_field().prop_flat_map(|name| (Just(name.to_owned()), column_filter(name))), 0..3)
        .prop_map(|columns| columns.into_iter().collect())
}

fn column_filter(name: &'static str) -> impl Strategy<Value = Value> {
    let pair = vec(simple(name), 1..3);
    let set = vec(prop_oneof![4 => operand(Field::from_key(name).unwrap()), 1 => Just(Value::Null)], 0..4);
    prop_oneof![
        simple(name),
        (select(&["AND", "OR"][..]), pair).prop_map(|(operator, conditions)| {
            json!({"filterType": conditions[0]["filterType"], "operator": operator, "conditions": conditions})
        }),
        set.prop_map(|values| json!({"filterType": "set", "values": values})),
    ]
}

fn simple(name: &'static str) -> impl Strategy<Value = Value> {
    let field = Field::from_key(name).unwrap();
    let (kind, types): (&str, &[&str]) = match field.kind() {
        Kind::Text(_) | Kind::Word(_) => {
            ("text", &["contains", "notContains", "equals", "notEqual", "startsWith", "endsWith", "blank", "notBlank"])
        }
        Kind::Flag => ("boolean", &["true", "false", "blank"]),
        Kind::Amount => ("number", SCALARS),
        Kind::Date => ("date", SCALARS),
    };
    (select(types), operand(field), operand(field)).prop_map(move |(name, from, to)| {
        let mut filter = json!({"filterType": kind, "type": name});
        if matches!(name, "blank" | "notBlank" | "true" | "false") {
            return filter;
        }
        if kind == "date" {
            filter["dateFrom"] = json!(format!("{} 00:00:00", from.as_str().unwrap()));
            filter["dateTo"] = if name == "inRange" { to } else { Value::Null };
        } else {
            filter["filter"] = from;
            if name == "inRange" {
                filter["filterTo"] = to;
            }
        }
        filter
    })
}

const SCALARS: &[&str] =
    &["equals", "notEqual", "lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual", "inRange", "blank", "notBlank"];

fn expression() -> impl Strategy<Value = Object> {
    let leaf = any_field().prop_flat_map(|name| {
        simple(name).prop_map(move |mut filter| {
            filter["colId"] = json!(name);
            filter
        })
    });
    let join = leaf.prop_recursive(2, 8, 3, |inner| {
        (select(&["AND", "OR"][..]), vec(inner, 1..4))
            .prop_map(|(operator, conditions)| json!({"filterType": "join", "type": operator, "conditions": conditions}))
    });
    join.prop_map(|filter| filter.as_object().unwrap().clone())
}
