package handout

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"

	"fourways.example/common/servertest/stages"
)

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
