//! Ten rounds of packs and returns between one connected workspace and two sites. The stores and
//! registries of the sites lose blobs at random. No medium carries a blob that the site has, and no
//! blob is missing in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use bundle::Lock;
use camino::{Utf8Path, Utf8PathBuf};
use medium::What;
use support::{Arguments, Run, Sandbox, TestRegistry, bundles, registries};

use crate::AIRLOCK;

const RELEASES: [&str; 5] = ["v4.1.1", "v4.1.2", "v4.1.3", "v4.1.4", "v4.1.5"];
const LAYERS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
const ROUNDS: usize = 10;

/// Pseudorandom numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        // Xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

struct Site {
    name: &'static str,
    registry: TestRegistry,
    /// The digests that the site had at its last return.
    had: BTreeSet<String>,
}

struct World {
    outside: Sandbox,
    dice: Dice,
    sites: Vec<Site>,
}

fn lock_path(release: &str) -> String {
    format!("bundles/{release}-amd64.lock.yaml")
}

impl World {
    async fn new(seed: u64) -> Self {
        let outside = Sandbox::new(AIRLOCK);
        outside.init_git();
        outside.write("program", support::PROGRAM);
        let mut sites = Vec::new();
        for name in ["north", "south"] {
            sites.push(Site {
                name,
                registry: TestRegistry::embedded().await,
                had: BTreeSet::new(),
            });
        }
        let dice = Dice(seed);
        let mut world = Self {
            outside,
            dice,
            sites,
        };
        for release in RELEASES {
            world.lock(release);
        }
        for site in 0..world.sites.len() {
            world.choose(site);
        }
        world
    }

    /// Locks a release whose layers are shared with other releases.
    fn lock(&mut self, release: &str) {
        let mut image = |name: &str| {
            let mut layers: Vec<(&str, usize)> = LAYERS
                .iter()
                .filter(|_| self.dice.below(3) > 0)
                .map(|layer| (*layer, 3_000))
                .collect();
            layers.push((release, 2_000));
            bundles::image(name, release, &["linux/amd64"], &layers)
        };
        let recipe = bundles::of(vec![image("calico/node"), image("coredns"), bundles::dex()]);
        bundles::lock_release(&self.outside, release, &recipe);
        bundles::lock_mkectl(&self.outside, release, release.as_bytes());
    }

    /// Moves a site to a random release, and returns the lock of the release.
    fn choose(&mut self, site: usize) -> Lock {
        let release = RELEASES[self.dice.below(RELEASES.len())];
        let site = &self.sites[site];
        self.outside.write(
            &format!("environments/{}/environment.yaml", site.name),
            &format!(
                "release: {release}\nregistry: {{ address: {}, project: mke }}\nconfig:\n  apiServer: {{ externalAddress: \
                 mke.example.com }}\n  hosts:\n    - role: controller+worker\n      ssh: {{ address: 192.0.2.10, user: ubuntu, port: \
                 22, keyPath: ~/.ssh/id_ed25519 }}\n",
                site.registry.address
            ),
        );
        Lock::read(&self.outside.path(&lock_path(release))).unwrap()
    }

    fn inside(&self, site: usize) -> Utf8PathBuf {
        self.outside.path("..").join(self.sites[site].name)
    }

    fn run_inside(&self, site: usize, arguments: impl Arguments) -> Run {
        let folder = self.inside(site);
        let more = ["-C", folder.as_str(), "--offline"];
        self.outside
            .run(&[arguments.words(), more.to_vec()].concat())
    }

    fn url(&self, site: usize, path: &str) -> String {
        format!("http://{}/v2/mke/{path}", self.sites[site].registry.address)
    }

    /// Returns every digest that a site may have, with its paths in the registry.
    fn places(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for release in RELEASES {
            let lock = Lock::read(&self.outside.path(&lock_path(release))).unwrap();
            for artifact in &lock.artifacts {
                for (digest, _) in artifact.blobs() {
                    let is_manifest = artifact.manifests.iter().any(|one| one.digest == *digest);
                    let kind = if is_manifest { "manifests" } else { "blobs" };
                    let place = format!("{}/{kind}/{digest}", artifact.repository);
                    places
                        .entry(digest.digest().to_owned())
                        .or_default()
                        .insert(place);
                }
            }
            if let Some(matrix) = &lock.release_matrix {
                places.entry(matrix.sha256.clone()).or_default();
            }
        }
        places
    }

    /// Returns the digests that a site has in its store or registry.
    async fn has(&self, site: usize) -> BTreeSet<String> {
        let store = self.inside(site).join("bundles/store/blobs/sha256");
        let http = registries::http();
        let mut has = BTreeSet::new();
        for (sha256, places) in self.places() {
            let mut is_there = store.join(&sha256).exists();
            for place in &places {
                let answer = http.head(self.url(site, place)).send().await.unwrap();
                is_there |= answer.status().is_success();
            }
            if is_there {
                has.insert(sha256);
            }
        }
        has
    }

    /// Removes random blobs from the store and the registry of a site.
    async fn drift(&mut self, site: usize) {
        let store = self.inside(site).join("bundles/store/blobs/sha256");
        let (from_store, from_registry) = (1 + self.dice.below(4), 1 + self.dice.below(4));
        for (sha256, places) in self.places() {
            if self.dice.below(from_store) > 0 {
                let _ = fs::remove_file(store.join(&sha256));
            }
            if self.dice.below(from_registry) > 1 {
                for place in &places {
                    let delete = registries::http().delete(self.url(site, place));
                    delete.send().await.unwrap();
                }
            }
        }
    }

    /// Packs a return of a site, and unpacks it in the connected workspace.
    async fn returned(&mut self, site: usize, round: usize) {
        let name = self.sites[site].name;
        let back = self.outside.path("..").join(format!("back-{name}-{round}"));
        self.run_inside(site, &["pack", name, "--return", "--out", back.as_str()])
            .success();
        self.outside
            .run(&["unpack", back.as_str(), "--allow-unsigned"])
            .success();
        self.outside.commit(&format!("Return of {name}"));
        self.sites[site].had = self.has(site).await;
    }
}

fn carried(folder: &Utf8Path) -> BTreeSet<String> {
    let found = medium::find(&[folder.to_owned()]).unwrap();
    let medium = found.trust_unsigned().unwrap();
    let contents = medium.manifest().contents.iter();
    let blobs = contents.filter(|content| content.what == What::Blob {});
    blobs.map(|content| content.sha256.clone()).collect()
}

fn all_of(lock: &Lock) -> BTreeSet<String> {
    let matrix = lock
        .release_matrix
        .iter()
        .map(|matrix| matrix.sha256.clone());
    let blobs = lock.blobs().into_keys();
    blobs
        .map(|digest| digest.trim_start_matches("sha256:").to_owned())
        .chain(matrix)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_blob_is_carried_twice_and_none_is_ever_missing() {
    let mut world = World::new(0x5eed).await;
    let (mut needed, mut sent) = (0, 0);
    for round in 0..ROUNDS {
        // Sometimes one medium travels to both sites. They begin apart.
        let both = round > 1 && world.dice.below(4) == 0;
        let chosen = match (both, round) {
            (true, _) => vec![0, 1],
            (false, 0 | 1) => vec![round],
            (false, _) => vec![world.dice.below(2)],
        };
        let mut expected = BTreeSet::new();
        for site in &chosen {
            let lock = world.choose(*site);
            let blobs = all_of(&lock);
            needed += blobs.len();
            expected.extend(blobs.difference(&world.sites[*site].had).cloned());
        }
        world.outside.commit("Choose releases");
        let medium = world.outside.path("..").join(format!("medium-{round}"));
        let mut pack = vec!["pack", "--program", "program", "--out", medium.as_str()];
        pack.extend(chosen.iter().map(|site| world.sites[*site].name));
        world.outside.run(&pack).success();
        let carried = carried(&medium);
        sent += carried.len();
        assert_eq!(carried, expected, "round {round} to {chosen:?}");
        if let [site] = chosen[..] {
            // The media of one site do not count for the other site.
            let manifest = medium.join("manifest.yaml");
            let other = world.sites[1 - site].name;
            let pack = ["pack", other, "--dry-run", "--have", manifest.as_str()];
            let run = world.outside.run(&pack).exits_with(3);
            run.reports("which is not packed");
        }
        for site in chosen {
            let name = world.sites[site].name;
            let unpack = ["unpack", medium.as_str(), "--allow-unsigned"];
            world.run_inside(site, &unpack).success();
            world.run_inside(site, &["push", name]).success();
            // A push trusts tags, and what the registry has lost below one is repaired.
            let repair = ["verify", name, "--full", "--repair"];
            world.run_inside(site, &repair).success();
            world.drift(site).await;
            world.returned(site, round).await;
        }
    }
    assert!(sent < needed && sent > needed / 10, "{sent} of {needed}");
}
