package grade

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fourways.example/common/servertest/stages"
)

// staleNote returns a warning if program is one of the repository's own servers in bin/ and a source file is
// newer than it. The result is "" otherwise. Without the warning, a change that was never built seems to have no effect.
func staleNote(program string) string {
	file, err := filepath.Abs(program)
	if err != nil {
		return ""
	}
	stage, bin := filepath.Base(file), filepath.Dir(file)
	root := filepath.Dir(bin)
	if filepath.Base(bin) != "bin" || !slices.Contains(stages.Dirs, stage) {
		return ""
	}
	info, err := os.Stat(file)
	if err != nil {
		return ""
	}
	if source := newerSource(root, stage, info.ModTime()); source != "" {
		return fmt.Sprintf("%s is older than %s; rebuild it with `make build`", program, source)
	}
	return ""
}

// newerSource returns the newest file that a stage is built from, by its path from root, if it is newer than built.
// It returns "" if there is none. Tests and the packages in common/servertest are not part of a server.
func newerSource(root, stage string, built time.Time) (newest string) {
	for _, folder := range []string{"common", stage} {
		_ = filepath.WalkDir(filepath.Join(root, folder), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil: // an unreadable folder costs only the warning
				return nil
			case d.IsDir() && (d.Name() == "servertest" || d.Name() == "testdata"):
				return fs.SkipDir
			case !d.Type().IsRegular() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			if info, err := d.Info(); err == nil && info.ModTime().After(built) {
				built = info.ModTime()
				newest, _ = filepath.Rel(root, path)
			}
			return nil
		})
	}
	return newest
}
