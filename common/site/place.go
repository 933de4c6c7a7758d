package site

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// fileInPrivate reports whether an open file is really in the folder "private" of the root,
// even if its path is a link elsewhere. It compares the real paths of the file and of the
// root, because the root may have been moved since the start. If one of them cannot be
// found, the file counts as private.
func (s *Site) fileInPrivate(f *os.File) bool {
	root, err := realPath(s.dir)
	if err != nil {
		return true
	}
	path, err := realPath(f)
	if err != nil {
		return true
	}
	return inPrivate(root, path)
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

// realPath asks the kernel for the path of an open file. The path contains no links.
func realPath(f *os.File) (string, error) {
	return os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
}

// folderInPrivate reports whether the last existing folder of path is in /private. It is
// for a path that cannot be opened. In /private, a client without a token must get the same
// answer for a name that does not exist and for one that exists, also if the path reaches
// /private through a link.
func (s *Site) folderInPrivate(path string) bool {
	inside := false
	for i := 1; i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		f, err := s.root.OpenFile(path[1:i], unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return inside || exhausted(err)
		}
		inside = s.fileInPrivate(f)
		_ = f.Close()
	}
	return inside
}
