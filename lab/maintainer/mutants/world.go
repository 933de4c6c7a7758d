package mutants

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fourways.example/common/servertest/stages"
)

// A world has the sources to mutate and the tests that should notice.
type world struct {
	root     string // the folder in which go runs; paths in descriptions begin here
	env      []string
	patterns []string                 // arguments of go list: the packages to mutate
	mutable  func(p *listed) []string // the files of a package to mutate
	quick    func(p *listed) bool     // whether the tests of a package are quick; they also run for mutants of its imports
	grace    time.Duration            // time for a suite in addition to four times its time without a mutant
	suites   []suite                  // slower tests, in the order in which they run

	set      *token.FileSet
	listed   map[string]*listed
	packages []*unit // the packages to mutate, sorted by path
	importer types.Importer
}

// A suite is a set of tests in a package, for mutants of this package and of its imports.
type suite struct {
	name      string
	path      string // the package
	run, skip string // as for go test -run and -skip
	own       bool   // only for mutants of this package
}

// A listed is a package as go list describes it.
type listed struct {
	ImportPath, Dir, Name, Export string
	GoFiles, TestGoFiles          []string
	XTestGoFiles, Deps            []string
}

// A unit is a package to mutate.
type unit struct {
	*listed
	dir   string               // from the root, with slashes
	files map[string]*ast.File // by name
	text  map[string][]byte
	info  *types.Info
}

// repoWorld returns the world of this repository. The conformance suites of the stages in numbers test the mutants of
// common/.
func repoWorld(root string, numbers []int) *world {
	const module = "fourways.example"
	path := func(stage int) string { return module + "/" + stages.Dirs[stage] }
	w := &world{root: root, grace: 20 * time.Second, patterns: []string{module + "/common/..."}}
	w.quick = func(p *listed) bool {
		return strings.HasPrefix(p.ImportPath, module+"/common/") && !strings.HasPrefix(p.ImportPath, module+"/common/servertest")
	}
	w.mutable = func(p *listed) []string {
		if p.Name == "main" && slices.Contains(p.GoFiles, "server.go") {
			return []string{"server.go"}
		}
		if w.quick(p) {
			return p.GoFiles
		}
		return nil
	}
	for _, n := range numbers {
		if n >= 1 && n < len(stages.Dirs) {
			w.suites = append(w.suites, suite{name: fmt.Sprintf("conformance of stage %d", n), path: path(n), run: "^TestConformance$"})
		}
	}
	for n := 1; n < len(stages.Dirs); n++ {
		w.patterns = append(w.patterns, path(n))
		if !slices.Contains(numbers, n) {
			w.suites = append(w.suites, suite{name: fmt.Sprintf("conformance of stage %d", n), path: path(n), run: "^TestConformance$", own: true})
		}
		w.suites = append(w.suites, suite{name: fmt.Sprintf("pitfalls of stage %d", n), path: path(n), run: "^TestPitfalls$/./^fixed$"})
		w.suites = append(w.suites, suite{name: fmt.Sprintf("tests of stage %d", n), path: path(n), skip: "^(TestConformance|TestPitfalls)$", own: true})
	}
	return w
}

// load reads the packages, and type-checks those to mutate. The types of their imports come from the compiler's export
// data, which is in the build cache because the tests need it too.
func (w *world) load(ctx context.Context) error {
	args := append([]string{"list", "-export", "-deps", "-json=ImportPath,Dir,Name,Export,GoFiles,TestGoFiles,XTestGoFiles,Deps"}, w.patterns...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = w.root, append(os.Environ(), w.env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go list: %w\n%s", err, said.Bytes())
	}
	w.set, w.listed = token.NewFileSet(), map[string]*listed{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &listed{}
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		w.listed[p.ImportPath] = p
	}
	w.importer = importer.ForCompiler(w.set, "gc", func(path string) (io.ReadCloser, error) {
		if p := w.listed[path]; p != nil && p.Export != "" {
			return os.Open(p.Export)
		}
		return nil, fmt.Errorf("no export data for %s", path)
	})
	for _, p := range w.listed {
		if strings.HasPrefix(p.Dir, w.root+string(filepath.Separator)) && len(w.mutable(p)) > 0 {
			u, err := w.read(p)
			if err != nil {
				return err
			}
			w.packages = append(w.packages, u)
		}
	}
	slices.SortFunc(w.packages, func(a, b *unit) int { return cmp.Compare(a.dir, b.dir) })
	return nil
}

// read parses and type-checks a package.
func (w *world) read(p *listed) (*unit, error) {
	dir, err := filepath.Rel(w.root, p.Dir)
	if err != nil {
		return nil, err
	}
	u := &unit{listed: p, dir: filepath.ToSlash(dir), files: map[string]*ast.File{}, text: map[string][]byte{}}
	for _, name := range p.GoFiles {
		text, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(w.set, name, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		u.files[name], u.text[name] = file, text
	}
	u.info = &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	return u, w.check(u, u.files, u.info)
}

// check type-checks a package with these files.
func (w *world) check(u *unit, files map[string]*ast.File, info *types.Info) error {
	list := make([]*ast.File, 0, len(files))
	for _, name := range u.GoFiles {
		list = append(list, files[name])
	}
	_, err := (&types.Config{Importer: w.importer}).Check(u.ImportPath, w.set, list, info)
	return err
}

// compiles reports whether a mutant compiles.
func (w *world) compiles(m *mutant) bool {
	name := filepath.Base(m.File)
	file, err := parser.ParseFile(w.set, name, m.source(), parser.SkipObjectResolution)
	if err != nil {
		return false
	}
	files := map[string]*ast.File{}
	for n, f := range m.unit.files {
		files[n] = f
	}
	files[name] = file
	return w.check(m.unit, files, nil) == nil
}

// mutants returns all mutants, sorted by package and position. Some do not compile.
func (w *world) mutants() []*mutant {
	var all []*mutant
	for _, u := range w.packages {
		for _, name := range w.mutable(u.listed) {
			all = append(all, find(w.set, u, name)...)
		}
	}
	return all
}

// atLeast is the smallest number of mutants of a package in the sample, if the package has that many.
const atLeast = 5

// draw returns a sample of n mutants that compile, or all of them if n is 0. Each package has the share that the
// function shares computes. The sample is in the order of the hashes, so that its beginning is a random sample too.
func (w *world) draw(all []*mutant, n int, seed int64) []*mutant {
	drawn := slices.Clone(all)
	hash := map[*mutant]uint64{}
	for _, m := range drawn {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", seed, m.key()))
		hash[m] = binary.BigEndian.Uint64(sum[:])
	}
	slices.SortFunc(drawn, func(a, b *mutant) int {
		return cmp.Or(cmp.Compare(hash[a], hash[b]), cmp.Compare(a.key(), b.key()))
	})
	sizes := map[string]int{}
	for _, m := range drawn {
		sizes[m.unit.dir]++
	}
	left := shares(sizes, n)
	return slices.DeleteFunc(drawn, func(m *mutant) bool {
		if left[m.unit.dir] == 0 || !w.compiles(m) {
			return true
		}
		left[m.unit.dir]--
		return false
	})
}

// shares divides n among packages of these sizes, in proportion to the size and with a minimum.
func shares(sizes map[string]int, n int) map[string]int {
	dirs := make([]string, 0, len(sizes))
	total := 0
	for dir, size := range sizes {
		dirs = append(dirs, dir)
		total += size
	}
	slices.Sort(dirs)
	if n <= 0 || n > total {
		n = total
	}
	share := map[string]int{}
	given := 0
	for _, dir := range dirs {
		share[dir] = min(sizes[dir], atLeast, n/len(dirs))
		given += share[dir]
	}
	// The next mutant goes to the package with the smallest share in proportion to its size.
	for ; given < n; given++ {
		next := ""
		for _, dir := range dirs {
			if share[dir] < sizes[dir] && (next == "" || share[dir]*sizes[next] < share[next]*sizes[dir]) {
				next = dir
			}
		}
		share[next]++
	}
	return share
}

// steps returns the tests for a mutant of a package, in the order in which they run.
func (w *world) steps(u *unit) []suite {
	var all []suite
	if w.quick(u.listed) {
		all = append(all, suite{name: "tests of " + u.dir, path: u.ImportPath})
		for _, other := range w.packages {
			if w.quick(other.listed) && slices.Contains(other.Deps, u.ImportPath) {
				all = append(all, suite{name: "tests of " + other.dir, path: other.ImportPath})
			}
		}
	}
	for _, s := range w.suites {
		p := w.listed[s.path]
		if p != nil && (p.ImportPath == u.ImportPath || !s.own && slices.Contains(p.Deps, u.ImportPath)) {
			all = append(all, s)
		}
	}
	return all
}

// fingerprint returns a hash of all files in the folders of the packages: sources, tests and test data.
func (w *world) fingerprint() (string, error) {
	var dirs []string
	for _, p := range w.listed {
		if strings.HasPrefix(p.Dir, w.root+string(filepath.Separator)) {
			dirs = append(dirs, p.Dir)
		}
	}
	slices.Sort(dirs)
	h := sha256.New()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(h, "%s %d\n%s", path, len(text), text)
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:12]), nil
}
