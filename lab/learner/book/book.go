// Package book makes the book: it weaves code, figures and ledgers into the Markdown in docs/book and docs/ledger, and
// makes the HTML pages in docs/site/book from it.
package book

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"fourways.example/common/servertest/variants"
	"fourways.example/lab/learner/book/site"
	"fourways.example/lab/learner/book/weave"
	"fourways.example/lab/learner/ledger"
)

// Command is `lab book`.
type Command struct {
	Check bool `help:"Write nothing: check that the pages are what the sources say, check the ledgers, and run the console blocks."`
}

// Run makes the book, or checks it.
func (c *Command) Run(ctx context.Context) error {
	repo, err := variants.FindRepo(".")
	if err != nil {
		return err
	}
	changed, err := Make(repo.Root, c.Check)
	if err != nil {
		return err
	}
	bad, err := checkLedgers(repo.Root)
	if err != nil {
		return err
	}
	if !c.Check {
		for _, c := range changed {
			fmt.Println("wrote", c.Name)
		}
		for _, s := range bad {
			fmt.Println(s)
		}
		return nil
	}
	bad = append(bad, Stale(changed)...)
	failed, err := RunBlocks(ctx, repo.Root)
	if err != nil {
		return err
	}
	if bad = append(bad, failed...); len(bad) > 0 {
		return errors.New(strings.Join(bad, "\n"))
	}
	fmt.Println("the book is what its sources say")
	return nil
}

func checkLedgers(repo string) (bad []string, err error) {
	names, err := ledger.FindNames(repo)
	if err != nil {
		return nil, err
	}
	for _, p := range ledger.Pairs {
		more, err := ledger.Check(repo, p, names)
		if err != nil {
			return nil, err
		}
		bad = append(bad, more...)
	}
	return bad, nil
}

// Chapters returns the Markdown files of the book.
func Chapters(repo string) ([]weave.Page, error) {
	names, err := filepath.Glob(filepath.Join(repo, "docs", "book", "*.md"))
	if err != nil {
		return nil, err
	}
	var pages []weave.Page
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		pages = append(pages, weave.Page{Path: "docs/book/" + filepath.Base(name), Text: string(text)})
	}
	return pages, nil
}

// Make weaves the Markdown and makes the pages. It returns the files that differ from those in the
// repository. With check it writes nothing.
func Make(repo string, check bool) (changed []Change, err error) {
	files := map[string][]byte{} // what the sources give, by path
	woven := map[string]string{}
	pages, err := Chapters(repo)
	if err != nil {
		return nil, err
	}
	for _, p := range pages {
		text, err := p.Weave(repo)
		if err != nil {
			return nil, err
		}
		files[p.Path], woven[p.Path] = []byte(text), text
	}
	for _, p := range ledger.Pairs {
		text, err := ledger.Text(repo, p)
		if err != nil {
			return nil, err
		}
		files[filepath.ToSlash(p.File())], woven[filepath.ToSlash(p.File())] = []byte(text), text
	}
	built, err := site.Build(repo, woven)
	if err != nil {
		return nil, err
	}
	for name, text := range built {
		files[site.Folder+"/"+name] = text
	}
	old, err := present(repo)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		got, err := os.ReadFile(filepath.Join(repo, name))
		if err == nil && bytes.Equal(got, files[name]) {
			continue
		}
		c := Change{Name: name}
		if text, ok := woven[name]; ok {
			c.Sections = sections(string(got), text)
		}
		changed = append(changed, c)
		if !check {
			if err := write(filepath.Join(repo, name), files[name]); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range old {
		if files[name] != nil {
			continue
		}
		changed = append(changed, Change{Name: name})
		if !check {
			if err := os.Remove(filepath.Join(repo, name)); err != nil {
				return nil, err
			}
		}
	}
	return changed, nil
}

func write(name string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o644)
}

// present returns the files in the folder of the pages.
func present(repo string) (names []string, err error) {
	err = filepath.WalkDir(filepath.Join(repo, site.Folder), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(repo, path)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	return names, err
}
