//! Who uses which subscription: the server is asked to end one when its last stream leaves.

use std::collections::BTreeMap;

/// How many streams there are for each topic filter.
#[derive(Debug, Default)]
pub(crate) struct Users(BTreeMap<String, usize>);

impl Users {
    /// A stream uses these filters.
    pub(crate) fn join(&mut self, filters: &[String]) {
        for filter in filters {
            *self.0.entry(filter.clone()).or_default() += 1;
        }
    }

    /// And does not any more: those that nobody else uses.
    pub(crate) fn leave(&mut self, filters: &[String]) -> Vec<String> {
        let mut unused = Vec::new();
        for filter in filters {
            let Some(users) = self.0.get_mut(filter) else { continue };
            *users -= 1;
            if *users == 0 {
                self.0.remove(filter);
                unused.push(filter.clone());
            }
        }
        unused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_is_told() {
        let mut users = Users::default();
        let [a, b] = ["a", "b"].map(str::to_owned);
        users.join(&[a.clone(), b.clone()]);
        users.join(&[a.clone(), a.clone()]);
        assert_eq!(users.leave(&[a.clone(), a.clone()]), Vec::<String>::new());
        assert_eq!(users.leave(&[a.clone(), b.clone()]), [a.clone(), b]);
        assert_eq!(users.leave(&[a]), Vec::<String>::new());
    }
}
