package site

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// liesInPrivate tells whether an open file is beneath the root's folder "private",
// whatever links led there. The kernel knows where a file was opened, links
// resolved; the root is asked as well, because somebody may have moved it. What
// cannot be told counts as private.
func (s *Site) liesInPrivate(f *os.File) bool {
	root, err := whereIs(s.dir)
	if err != nil {
		return true
	}
	place, err := whereIs(f)
	if err != nil {
		return true
	}
	return inPrivate(root, place)
}

func inPrivate(root, place string) bool {
	rest, inside := strings.CutPrefix(place, strings.TrimSuffix(root, "/"))
	if !inside || rest != "" && rest[0] != '/' {
		return true
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
	// The kernel marks the name of a folder or file that was just removed.
	return strings.TrimSuffix(first, " (deleted)") == "private"
}

// whereIs returns the real path of an open file.
func whereIs(f *os.File) (string, error) {
	return os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
}

// insidePrivate tells whether the deepest folder on the way to path is in /private:
// a name that does not exist there must look to a client without a token like one
// that does, also where a link to the folder makes its path look harmless.
func (s *Site) insidePrivate(path string) bool {
	inside := false
	for i := 1; i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		f, err := s.root.OpenFile(path[1:i], unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return inside || exhausted(err)
		}
		inside = s.liesInPrivate(f)
		_ = f.Close()
	}
	return inside
}
