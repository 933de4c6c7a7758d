package site

import (
	"os"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// fileInPrivate reports whether an open file is really in the folder "private" of the root,
// even if its path is a link elsewhere. It compares the real paths of the file and of the
// root, because the root may have been moved since it was opened.
func (r *root) fileInPrivate(f *os.File) (bool, error) {
	dir, path, err := r.realPaths(f)
	return err == nil && inPrivate(dir, path), err
}

// realPaths returns the real paths of the root and of an open file.
func (r *root) realPaths(f *os.File) (dir, path string, err error) {
	if dir, err = realPath(r.dir); err == nil {
		path, err = realPath(f)
	}
	return dir, path, err
}

// inPrivate reports whether path is the folder "private" of root or in that folder. A path
// outside of root counts as private.
func inPrivate(root, path string) bool {
	rest, inside := strings.CutPrefix(path, strings.TrimSuffix(root, "/"))
	if !inside || rest != "" && rest[0] != '/' {
		return true
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	// The kernel appends " (deleted)" to the path of a removed file or folder.
	return strings.TrimSuffix(first, " (deleted)") == "private"
}

// procFD returns the name of an open file in /proc.
func procFD(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// realPath asks the kernel for the path of an open file. The path contains no links.
func realPath(f *os.File) (string, error) {
	return os.Readlink(procFD(f))
}

// folderInPrivate reports whether the last existing folder of path is in /private. It is
// for a path that cannot be opened. In /private, a client without a token must get the same
// answer for a name that does not exist and for one that exists, also if the path reaches
// /private through a link.
//
// If a folder of the path exists, all folders before it exist. So a binary search finds the
// last one: a path of 2,000 folders needs 11 opens.
func (r *root) folderInPrivate(path string) (inside bool, err error) {
	err = searchFolders(path, func(name string) (exists bool, err error) {
		f, err := r.open(name, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			_, err = kindOf(err)
			return false, err
		}
		defer f.Close()
		inside, err = r.fileInPrivate(f)
		return true, err
	})
	return inside, err
}

// searchFolders calls visit for some folders of path, without their first slash. The last folder
// for which visit returns true is the last one that exists.
func searchFolders(path string, visit func(name string) (exists bool, err error)) (err error) {
	var ends []int // where the names of the folders end
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			ends = append(ends, i)
		}
	}
	sort.Search(len(ends), func(i int) bool {
		if err != nil {
			return true
		}
		var exists bool
		exists, err = visit(path[1:ends[i]])
		return err != nil || !exists
	})
	return err
}
