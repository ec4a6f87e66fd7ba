//! Reads the modules of a crate and the imports between its files, for tests of the layout.
//!
//! An import is a `use`, or a path that begins with `crate`, `self`, `super` or a child module, outside of `#[cfg(test)]`. A name
//! that a module only passes on (`pub use`) is an import of the file that defines it. Methods are not followed.

use std::collections::{BTreeMap, BTreeSet};

use syn::{
    Attribute, Item, ItemMod, UseTree,
    visit::{self, Visit},
};

use crate::tree::{root, sources};

/// How many aliases are followed from one name: more than any chain of `pub use` has.
const ALIASES: usize = 16;

/// A type that a file declares for others (`pub` or `pub(...)`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicType {
    /// Its name, without its module.
    pub name: String,
    /// The file, below the workspace's folder.
    pub file: String,
}

/// The files of one crate.
#[derive(Debug, Default)]
pub struct Crate {
    modules: BTreeMap<Vec<String>, Module>,
}

#[derive(Debug, Default)]
struct Module {
    file: String,
    uses: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    paths: BTreeSet<Vec<String>>,
    types: Vec<String>,
    public: Vec<String>,
    impls: Vec<Vec<String>>,
    functions: usize,
}

impl Crate {
    /// Reads the modules below `member/src` from `main`, the name of its root file.
    ///
    /// # Panics
    /// When a file is not Rust, or a module has no file.
    #[must_use]
    pub fn read(member: &str, main: &str) -> Self {
        let mut whole = Self::default();
        whole.load(&format!("{member}/src/{main}"), &format!("{member}/src"), Vec::new());
        whole
    }

    fn load(&mut self, file: &str, folder: &str, path: Vec<String>) {
        let text = crate::tree::read(file);
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        let mut children = Vec::new();
        let mut reader = Reader { module: &mut module, children: &mut children };
        parsed.items.iter().for_each(|item| reader.visit_item(item));
        self.modules.insert(path.clone(), module);
        for name in children {
            let child = [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")];
            let file = child.iter().find(|file| root().join(file).exists());
            let file = file.unwrap_or_else(|| panic!("{folder} has no module {name}"));
            let mut path = path.clone();
            path.push(name.clone());
            self.load(file, &format!("{folder}/{name}"), path);
        }
    }

    /// Returns the files that each file imports from.
    #[must_use]
    pub fn imports(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let of = |(path, module): (&Vec<String>, &'_ Module)| {
            let used = module.uses.values().chain(&module.globs).chain(&module.paths);
            used.filter_map(|used| self.file_of(path, used)).map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (path, module) in &self.modules {
            let to = of((path, module));
            let entry = found.entry(module.file.as_str()).or_default();
            let others = self.modules.values().map(|module| module.file.as_str());
            entry.extend(others.filter(|file| *file != module.file && to.contains(*file)));
        }
        found
    }

    /// Returns the sets of files that import each other in a circle, largest first.
    #[must_use]
    pub fn circles(&self) -> Vec<BTreeSet<&str>> {
        let imports = self.imports();
        let reached: BTreeMap<&str, BTreeSet<&str>> = imports
            .keys()
            .map(|from| {
                let (mut seen, mut left) = (BTreeSet::new(), vec![*from]);
                while let Some(file) = left.pop() {
                    left.extend(imports.get(file).into_iter().flatten().filter(|to| seen.insert(**to)));
                }
                (*from, seen)
            })
            .collect();
        let (mut done, mut circles) = (BTreeSet::new(), Vec::new());
        for (file, seen) in &reached {
            if done.contains(file) || !seen.contains(file) {
                continue;
            }
            let circle: BTreeSet<&str> = seen
                .iter()
                .filter(|other| reached.get(*other).is_some_and(|back| back.contains(file)))
                .copied()
                .collect();
            done.extend(circle.iter().copied());
            circles.push(circle);
        }
        circles.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
        circles
    }

    /// Returns the types that are declared for other files.
    #[must_use]
    pub fn public_types(&self) -> Vec<PublicType> {
        let of = |module: &Module| -> Vec<_> {
            let file = module.file.clone();
            module.public.iter().map(|name| PublicType { name: name.clone(), file: file.clone() }).collect()
        };
        self.modules.values().flat_map(of).collect()
    }

    /// Returns `file: Type` of each inherent `impl` outside of the file of its type.
    #[must_use]
    pub fn impls_apart(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (path, module) in &self.modules {
            for named in &module.impls {
                let [name] = named.as_slice() else { continue };
                if module.types.contains(name) {
                    continue;
                }
                if self.file_of(path, named).is_some_and(|file| file != module.file) {
                    found.push(format!("{}: {name}", module.file));
                }
            }
        }
        found
    }

    /// Returns the files named `mod.rs` that hold functions or `impl` blocks.
    #[must_use]
    pub fn folders_with_logic(&self) -> Vec<&str> {
        let has_logic =
            |module: &&Module| module.file.ends_with("/mod.rs") && module.functions + module.impls.len() > 0;
        self.modules.values().filter(has_logic).map(|module| module.file.as_str()).collect()
    }

    /// The file that defines what a path names in a module; nothing when it is not of this crate.
    fn file_of(&self, module: &[String], path: &[String]) -> Option<&str> {
        self.resolve(module, path, ALIASES)
    }

    fn resolve(&self, module: &[String], path: &[String], left: usize) -> Option<&str> {
        let left = left.checked_sub(1)?;
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => Vec::new(),
            "self" => module.to_vec(),
            "super" => module.split_last()?.1.to_vec(),
            _ => {
                rest = path;
                module.to_vec()
            }
        };
        let relative = rest.len() == path.len();
        let mut first = true;
        while let Some((name, after)) = rest.split_first() {
            if name == "super" {
                at.pop()?;
            } else {
                let mut child = at.clone();
                child.push(name.clone());
                if self.modules.contains_key(&child) {
                    at = child;
                } else {
                    let here = self.modules.get(&at)?;
                    if let Some(alias) = here.uses.get(name) {
                        let whole: Vec<_> = alias.iter().chain(after).cloned().collect();
                        return self.resolve(&at, &whole, left);
                    }
                    // An item of this module; a first name that is none of them is another crate's.
                    let known = !(relative && first) || here.types.contains(name);
                    return known.then_some(here.file.as_str());
                }
            }
            (rest, first) = (after, false);
        }
        self.modules.get(&at).map(|module| module.file.as_str())
    }
}

struct Reader<'a> {
    module: &'a mut Module,
    children: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn take_uses(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &syn::Ident| before.iter().cloned().chain([name.to_string()]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(path) => self.take_uses(&with(&path.ident), &path.tree),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.take_uses(before, tree)),
            UseTree::Glob(_) => self.module.globs.push(before.to_vec()),
            UseTree::Name(name) if name.ident == "self" => {
                if let Some(last) = before.last() {
                    self.module.uses.insert(last.clone(), before.to_vec());
                }
            }
            UseTree::Name(name) => drop(self.module.uses.insert(name.ident.to_string(), with(&name.ident))),
            UseTree::Rename(name) => drop(self.module.uses.insert(name.rename.to_string(), with(&name.ident))),
        }
    }

    fn declares(&mut self, name: &syn::Ident, visibility: &syn::Visibility) {
        self.module.types.push(name.to_string());
        if !matches!(visibility, syn::Visibility::Inherited) {
            self.module.public.push(name.to_string());
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    let is_cfg_test = |attribute: &Attribute| {
        let list = attribute.meta.require_list().ok().filter(|list| list.path.is_ident("cfg"));
        list.is_some_and(|list| list.tokens.to_string() == "test" || list.tokens.to_string().starts_with("all (test"))
    };
    attributes.iter().any(is_cfg_test)
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Const(item) => &item.attrs,
            _ => &[],
        };
        if is_test(attributes) {
            return;
        }
        match item {
            Item::Use(item) => self.take_uses(&[], &item.tree),
            Item::Struct(item) => self.declares(&item.ident, &item.vis),
            Item::Enum(item) => self.declares(&item.ident, &item.vis),
            Item::Trait(item) => self.declares(&item.ident, &item.vis),
            Item::Type(item) => self.declares(&item.ident, &item.vis),
            Item::Fn(_) => self.module.functions += 1,
            Item::Impl(item) => {
                if let (None, syn::Type::Path(named)) = (&item.trait_, &*item.self_ty) {
                    let path = named.path.segments.iter().map(|segment| segment.ident.to_string());
                    self.module.impls.push(path.collect());
                }
            }
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if item.content.is_none() {
            self.children.push(item.ident.to_string());
        }
        visit::visit_item_mod(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 && path.leading_colon.is_none() {
            let path = path.segments.iter().map(|segment| segment.ident.to_string());
            self.module.paths.insert(path.collect());
        }
        visit::visit_path(self, path);
    }
}

/// Returns the number of Rust files that lie directly in each folder below these, files of tests aside.
#[must_use]
pub fn files_by_folder(folder: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for file in sources(folder) {
        let Some((folder, name)) = file.path.rsplit_once('/') else { continue };
        let is_test = name == "tests.rs" || folder.ends_with("/tests");
        if name.ends_with(".rs") && !is_test {
            *found.entry(folder.to_owned()).or_default() += 1;
        }
    }
    found
}
