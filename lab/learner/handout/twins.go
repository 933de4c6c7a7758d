package handout

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"fourways.example/lab/learner/learn/exercise"
)

// servers are the files in which a stage or a step repeats code of an earlier one, in their order.
var servers = []string{
	"stage1-iterative/server.go", "stage2-threadpool/server.go", "stage3-dualstack/listen.go", "stage3-dualstack/server.go",
	"stage4-epoll/testdata/steps/4a/server.go", "stage4-epoll/testdata/steps/4b/server.go", "stage4-epoll/testdata/steps/4c/server.go",
	"stage4-epoll/listen.go", "stage4-epoll/server.go",
}

// cutTwins cuts functions that are the same text as one of an exercise, in the files after that of the exercise: there
// a student could read the solution. It returns these functions by the ID of the exercise.
func cutTwins(root string, all []exercise.Exercise) (map[string][]exercise.Functions, error) {
	twins := map[string][]exercise.Functions{}
	read := exercise.ReadFrom(root)
	for _, e := range all {
		for _, c := range e.Cuts {
			at := slices.Index(servers, c.File)
			if at < 0 {
				continue
			}
			solution, err := read(c.File)
			if err != nil {
				return nil, err
			}
			for _, file := range servers[at+1:] {
				text, err := read(file)
				if errors.Is(err, fs.ErrNotExist) {
					continue // a later stage
				}
				if err != nil {
					return nil, err
				}
				twin := exercise.Functions{File: file}
				for _, name := range c.Names {
					want, err := exercise.Bodies(solution, []string{name})
					if err != nil {
						return nil, err
					}
					if got, err := exercise.Bodies(text, []string{name}); err != nil || got != want {
						continue // the file has no such function, or another
					}
					said := fmt.Sprintf("{\n\tpanic(%q)\n}", "exercise "+e.ID+": the same code as in "+c.File)
					if text, err = exercise.Replace(text, name, said); err != nil {
						return nil, err
					}
					twin.Names = append(twin.Names, name)
				}
				if len(twin.Names) == 0 {
					continue
				}
				twins[e.ID] = append(twins[e.ID], twin)
				if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(file)), text, 0o644); err != nil {
					return nil, err
				}
			}
		}
	}
	return twins, nil
}
