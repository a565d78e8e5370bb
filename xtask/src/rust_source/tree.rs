use std::mem;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use syn::{Item, ItemMod};

use super::tests_only::is_for_tests;
use crate::folders;

/// The modules of one crate, from its `lib.rs` or `main.rs` down.
pub struct CrateSource {
    /// The folder of the root file; the names of files start there.
    pub folder: PathBuf,
    /// Every file that a module declaration leads to.
    pub files: Vec<SourceFile>,
    /// Every module; the first is the root.
    pub modules: Vec<Module>,
}

/// One file of a crate.
#[derive(Debug)]
pub struct SourceFile {
    /// Its path from [`CrateSource::folder`], with `/` between the parts.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Whether it is compiled for tests alone.
    pub test_only: bool,
}

/// One module: a file of its own, or part of one.
pub struct Module {
    /// Its name; `crate` for the root.
    pub name: String,
    /// Its place in [`CrateSource::modules`], for all but the root.
    pub parent: Option<usize>,
    /// The place of its file in [`CrateSource::files`].
    pub file: usize,
    /// Whether it is compiled for tests alone.
    pub test_only: bool,
    /// Its items. Those of its own modules are in these modules.
    pub items: Vec<Item>,
}

impl CrateSource {
    /// Reads every crate in a crate's folder: its library, its program, or both.
    ///
    /// # Errors
    /// When neither is there, or a file cannot be read or parsed.
    pub fn read_all(folder: &Path) -> Result<Vec<Self>> {
        let roots = ["src/lib.rs", "src/main.rs"].map(|root| folder.join(root));
        let found: Vec<_> = roots.iter().filter(|root| root.is_file()).collect();
        if found.is_empty() {
            bail!("{} has neither a library nor a program", folder.display());
        }
        found.into_iter().map(|root| Self::read(root)).collect()
    }

    /// Reads the crate whose root is this file.
    ///
    /// # Errors
    /// When a file cannot be read or parsed.
    pub fn read(root: &Path) -> Result<Self> {
        let folder = root.parent().context("a root file lies in a folder")?;
        let mut source = Self {
            folder: folder.to_owned(),
            files: Vec::new(),
            modules: Vec::new(),
        };
        let place = Place {
            name: "crate".to_owned(),
            parent: None,
            test_only: false,
        };
        source.add_file(root, place, folder)?;
        Ok(source)
    }

    /// Returns the module's path, as `crate::clip::policy`.
    pub fn path_of(&self, module: usize) -> String {
        let module = &self.modules[module];
        match module.parent {
            Some(parent) => format!("{}::{}", self.path_of(parent), module.name),
            None => module.name.clone(),
        }
    }

    /// Returns the name of the file that holds the module.
    pub fn file_of(&self, module: usize) -> &str {
        &self.files[self.modules[module].file].name
    }

    /// Adds the file at `path` as a module; its own modules' files lie in `below`.
    fn add_file(&mut self, path: &Path, place: Place, below: &Path) -> Result<()> {
        let text = folders::read(path)?;
        let syntax = syn::parse_file(&text)
            .with_context(|| format!("could not parse {}", path.display()))?;
        self.files.push(SourceFile {
            name: folders::shown(path, &self.folder),
            text,
            test_only: place.test_only,
        });
        self.add_module(syntax.items, place, self.files.len() - 1, below)
    }

    fn add_module(
        &mut self,
        mut items: Vec<Item>,
        place: Place,
        file: usize,
        below: &Path,
    ) -> Result<()> {
        let index = self.modules.len();
        let test_only = place.test_only;
        self.modules.push(Module {
            name: place.name,
            parent: place.parent,
            file,
            test_only,
            items: Vec::new(),
        });
        for item in &mut items {
            let Item::Mod(item) = item else { continue };
            let name = item.ident.to_string();
            let child = Place {
                test_only: test_only || is_for_tests(&item.attrs),
                parent: Some(index),
                name: name.clone(),
            };
            if let Some((_, content)) = &mut item.content {
                let content = mem::take(content);
                self.add_module(content, child, file, &below.join(name))?;
            } else {
                let (path, below) = file_of_declaration(item, below)?;
                self.add_file(&path, child, &below)?;
            }
        }
        self.modules[index].items = items;
        Ok(())
    }
}

/// Where a module stands, before it is read.
struct Place {
    name: String,
    parent: Option<usize>,
    test_only: bool,
}

/// Finds the file of `mod name;`, and the folder of that module's own files.
fn file_of_declaration(item: &ItemMod, below: &Path) -> Result<(PathBuf, PathBuf)> {
    let name = item.ident.to_string();
    let folder = below.join(&name);
    for path in [below.join(format!("{name}.rs")), folder.join("mod.rs")] {
        if path.is_file() {
            return Ok((path, folder));
        }
    }
    bail!("no file in {} holds `mod {name};`", below.display())
}
