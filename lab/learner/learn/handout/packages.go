package handout

import (
	"go/parser"
	"go/token"
	slashpath "path"
	"path/filepath"
	"strings"

	"fourways.example/common/servertest/stages"
)

// showing has the tests that a handout does not have because they show the solution of an exercise, and which.
var showing = map[string]string{
	"common/site/*_test.go": "iterative", // their harness drives a connection as the servers do
}

// showsSolution reports whether a file is one of these tests.
func showsSolution(path string) bool {
	for pattern := range showing {
		if ok, err := slashpath.Match(pattern, path); ok && err == nil {
			return true
		}
	}
	return false
}

// unused reports whether a path is a package of common that the tree does not use.
func unused(path string, used map[string]bool) bool {
	pkg, inside := strings.CutPrefix(path, "common/")
	return inside && !strings.ContainsAny(pkg, "/.") && pkg != "servertest" && !used[pkg]
}

// usedPackages returns the packages of common that the stages up to one import, and those that these import. The
// others are parts of later stages.
func usedPackages(root string, stage int) (map[string]bool, error) {
	used := map[string]bool{}
	var visit func(dir string) error
	visit = func(dir string) error {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil {
			return err
		}
		for _, path := range files {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			for _, spec := range file.Imports {
				pkg, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), "fourways.example/common/")
				if !ours || strings.HasPrefix(pkg, "servertest") || used[pkg] {
					continue
				}
				used[pkg] = true
				if err := visit(filepath.Join("common", pkg)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for n := 1; n <= stage; n++ {
		if err := visit(stages.Dirs[n]); err != nil {
			return nil, err
		}
	}
	return used, nil
}
