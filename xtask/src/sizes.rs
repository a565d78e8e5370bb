//! How long files, functions and lines are.

use std::path::Path;

use anyhow::{Context, Result};
use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, ImplItem, ImplItemFn, Item, ItemFn, TraitItemFn};

use crate::folders;
use crate::python_source::PythonSource;
use crate::rust_source::{CrateSource, is_for_tests};

/// The most lines that a file below `src`, or of the Python package, may have.
pub const FILE_LINES: usize = 400;
/// The most lines that a function may have.
pub const FUNCTION_LINES: usize = 60;
/// The most columns that a line should have.
pub const COLUMNS: usize = 100;
/// How many lines may have more columns: links and tables, mostly.
pub const WIDE_LINES: usize = 40;

/// Where lines are measured.
const MEASURED: [&str; 3] = ["crates", "python", "xtask"];
/// What people write there, by the ends of the names; data has lines as long as it likes.
const WRITTEN: [&str; 7] = ["rs", "py", "pyi", "toml", "md", "css", "js"];

/// The sizes of a workspace's files, functions and lines.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// Each file, with its number of lines. Tests are not counted.
    pub files: Vec<Size>,
    /// Each function, with its number of lines, from the first line of its signature to its last
    /// brace. Functions of tests are left out, and so are comments and attributes before it.
    pub functions: Vec<Size>,
    /// Each line of more than [`COLUMNS`] columns, with its number of characters.
    pub wide_lines: Vec<Size>,
}

/// A place, and how long it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// A file, `FILE:LINE`, or `FILE:LINE NAME`, from the workspace's root.
    pub place: String,
    /// Lines or columns.
    pub length: usize,
}

impl Sizes {
    /// Measures the workspace at `root`: the crates' and xtask's `src`, and the Python package.
    ///
    /// # Errors
    /// When a file cannot be read or parsed, or Python does not start.
    pub fn measure(root: &Path) -> Result<Self> {
        let mut sizes = Self::default();
        for folder in folders::crates(root)? {
            for source in CrateSource::read_all(&folder)? {
                sizes.add_crate(&source, root)?;
            }
        }
        sizes.add_python(&root.join(folders::PYTHON_PACKAGE), root)?;
        for folder in MEASURED {
            sizes.add_lines(&root.join(folder), root)?;
        }
        for list in [
            &mut sizes.files,
            &mut sizes.functions,
            &mut sizes.wide_lines,
        ] {
            list.sort_by(|a, b| b.length.cmp(&a.length).then_with(|| a.place.cmp(&b.place)));
        }
        Ok(sizes)
    }

    /// Adds a crate's files and functions.
    ///
    /// # Errors
    /// When a file cannot be parsed.
    pub fn add_crate(&mut self, source: &CrateSource, root: &Path) -> Result<()> {
        for file in source.files.iter().filter(|file| !file.test_only) {
            let place = folders::shown(&source.folder.join(&file.name), root);
            let syntax = syn::parse_file(&file.text).with_context(|| place.clone())?;
            let mut measure = Measure::default();
            measure.visit_file(&syntax);
            self.files.push(Size {
                length: file.text.lines().count() - measure.test_lines,
                place: place.clone(),
            });
            let functions = measure.functions.into_iter();
            self.functions
                .extend(functions.map(|(name, line, length)| Size {
                    place: format!("{place}:{line} {name}"),
                    length,
                }));
        }
        Ok(())
    }

    /// Adds a Python package's files and functions.
    ///
    /// # Errors
    /// When a file cannot be read or parsed, or Python does not start.
    pub fn add_python(&mut self, package: &Path, root: &Path) -> Result<()> {
        for path in folders::files(package, &["py"])? {
            self.files.push(Size {
                place: folders::shown(&path, root),
                length: folders::read(&path)?.lines().count(),
            });
        }
        for function in PythonSource::read(package)?.functions {
            let file = folders::shown(&package.join(&function.file), root);
            self.functions.push(Size {
                place: format!("{file}:{} {}", function.first_line, function.name),
                length: function.lines,
            });
        }
        Ok(())
    }

    /// Adds the wide lines of every file below `folder` that people write.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn add_lines(&mut self, folder: &Path, root: &Path) -> Result<()> {
        for path in folders::files(folder, &WRITTEN)? {
            let place = folders::shown(&path, root);
            for (index, line) in folders::read(&path)?.lines().enumerate() {
                let length = line.chars().count();
                if length > COLUMNS {
                    let place = format!("{place}:{}", index + 1);
                    self.wide_lines.push(Size { place, length });
                }
            }
        }
        Ok(())
    }

    /// Returns the files that are too long.
    pub fn long_files(&self) -> Vec<&Size> {
        longer(&self.files, FILE_LINES)
    }

    /// Returns the functions that are too long.
    pub fn long_functions(&self) -> Vec<&Size> {
        longer(&self.functions, FUNCTION_LINES)
    }

    /// Returns the ten longest files and functions, and the number of wide lines, as text.
    pub fn summary(&self) -> String {
        let mut text = format!("Longest files (at most {FILE_LINES} lines)\n");
        text.extend(self.files.iter().take(10).map(Size::row));
        text += &format!("\nLongest functions (at most {FUNCTION_LINES} lines)\n");
        text.extend(self.functions.iter().take(10).map(Size::row));
        text += &format!("\nLines of more than {COLUMNS} columns (at most {WIDE_LINES}): ");
        text += &format!("{}\n", self.wide_lines.len());
        text.extend(self.wide_lines.iter().take(10).map(Size::row));
        text
    }
}

impl Size {
    fn row(&self) -> String {
        format!("{:7}  {}\n", self.length, self.place)
    }
}

fn longer(sizes: &[Size], limit: usize) -> Vec<&Size> {
    sizes.iter().filter(|size| size.length > limit).collect()
}

/// What one file holds: its functions, and how many of its lines are for tests.
#[derive(Default)]
struct Measure {
    functions: Vec<(String, usize, usize)>,
    test_lines: usize,
    /// The type whose methods are visited, with `::`.
    holder: String,
}

impl Measure {
    fn add(&mut self, name: &syn::Ident, first: Span, block: &Block) {
        let first = first.start().line;
        let last = block.brace_token.span.close().end().line;
        let name = format!("{}{name}", self.holder);
        self.functions.push((name, first, last - first + 1));
    }

    /// Counts the item's lines, from its first comment or attribute on.
    fn skip(&mut self, item: &impl Spanned, attributes: &[Attribute]) {
        let first = attributes.first().map_or(item.span(), Spanned::span);
        self.test_lines += item.span().end().line - first.start().line + 1;
    }

    fn inside(&mut self, holder: String, visit: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.holder, holder);
        visit(self);
        self.holder = before;
    }
}

impl<'ast> Visit<'ast> for Measure {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(inner) if is_for_tests(&inner.attrs) => self.skip(item, &inner.attrs),
            Item::Fn(inner) if is_for_tests(&inner.attrs) => self.skip(item, &inner.attrs),
            Item::Impl(inner) if is_for_tests(&inner.attrs) => self.skip(item, &inner.attrs),
            Item::Use(inner) if is_for_tests(&inner.attrs) => self.skip(item, &inner.attrs),
            Item::Impl(inner) => {
                let holder = name_of(&inner.self_ty).map_or(String::new(), |name| name + "::");
                self.inside(holder, |this| visit::visit_item(this, item));
            }
            Item::Trait(inner) => {
                let holder = format!("{}::", inner.ident);
                self.inside(holder, |this| visit::visit_item(this, item));
            }
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        match item {
            ImplItem::Fn(inner) if is_for_tests(&inner.attrs) => self.skip(item, &inner.attrs),
            _ => visit::visit_impl_item(self, item),
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.add(&item.sig.ident, item.sig.span(), &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.add(&item.sig.ident, item.sig.span(), &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(block) = &item.default {
            self.add(&item.sig.ident, item.sig.span(), block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

fn name_of(of: &syn::Type) -> Option<String> {
    match of {
        syn::Type::Path(path) => Some(path.path.segments.last()?.ident.to_string()),
        _ => None,
    }
}
