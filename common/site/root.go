package site

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/sock"
)

// rootAge is how long the name of the root is believed to mean the same folder, on the site's
// clock. Together with maxAge it is less than a second: a file of the old folder may have
// been cached just before.
const rootAge = int64(250 * time.Millisecond)

// A root is the folder that a site serves. It opens nothing outside of this folder, even
// through symbolic links.
//
// On Linux 5.6 and later, the kernel checks this while it resolves a name (openat2(2),
// RESOLVE_BENEATH). Where that call is missing or forbidden, os.Root checks it in the
// process. It needs an open for each folder in the name, and follows at most eight links.
type root struct {
	dir     *os.File
	walker  *os.Root // nil if the kernel has openat2
	dev     uint64   // the identity of the folder: another one may get its name
	ino     uint64
	holders int // the site, and the loads that use this root; Site.mu guards it
}

// openRoot opens the folder with this name. It returns an error if the folder cannot be read
// or entered.
func openRoot(name string) (*root, error) {
	return openRootBy(name, func(dir *os.File) (bool, error) {
		return beneathWorks(sock.OpenBeneath(int(dir.Fd()), ".", unix.O_PATH))
	})
}

// openRootBy is openRoot with a probe for openat2. A test passes another probe.
func openRootBy(name string, probe func(dir *os.File) (works bool, err error)) (*root, error) {
	dir, err := os.OpenFile(name, unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	r := &root{dir: dir, holders: 1}
	works, err := probe(dir)
	if err == nil && !works {
		r.walker, err = os.OpenRoot(procFD(dir)) // the same folder, even if another one has the name by now
	}
	var st unix.Stat_t
	if err == nil {
		err = r.stat(&st)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	r.dev, r.ino = uint64(st.Dev), st.Ino
	return r, nil
}

// stat returns the status of the folder. It opens the folder in the same way as a file in
// it, so it fails if this user may not enter the folder.
func (r *root) stat(st *unix.Stat_t) error {
	f, err := r.open(".", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer f.Close()
	return os.NewSyscallError("fstat", unix.Fstat(int(f.Fd()), st))
}

// beneathWorks interprets the result of the first OpenBeneath. ENOSYS means an older kernel,
// EPERM a sandbox that forbids unknown calls.
func beneathWorks(fd int, err error) (bool, error) {
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, os.NewSyscallError("close", unix.Close(fd))
}

// open opens a file or a folder in the root. flags are those of open(2).
func (r *root) open(name string, flags int) (*os.File, error) {
	if r.walker != nil {
		return r.walker.OpenFile(name, flags, 0)
	}
	fd, err := sock.OpenBeneath(int(r.dir.Fd()), name, flags)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// folder opens a folder, to read its entries. "." is the root. It returns fs.ErrNotExist if a
// link leads to the folder, also if somebody has just replaced the folder or one above it by a
// link.
func (r *root) folder(name string) (*os.File, error) {
	f, err := r.open(name, unix.O_DIRECTORY|unix.O_NONBLOCK)
	if err != nil || name == "." {
		return f, err
	}
	dir, path, err := r.realPaths(f)
	if err == nil && path != strings.TrimSuffix(dir, "/")+"/"+name {
		err = fs.ErrNotExist
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func (r *root) close() {
	_ = r.dir.Close()
	if r.walker != nil {
		_ = r.walker.Close()
	}
}

// hold returns the root for one load. The caller passes it to release.
func (s *Site) hold() *root {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.root.holders++
	return s.root
}

// serves reports whether r is still the root of the site.
func (s *Site) serves(r *root) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.root == r
}

// release closes r if nobody else uses it.
func (s *Site) release(r *root) {
	s.mu.Lock()
	r.holders--
	last := r.holders == 0
	s.mu.Unlock()
	if last {
		r.close()
	}
}

// followRoot checks whether the name of the root now means another folder, at most every
// rootAge: the name may be a link that was switched to the next version of the site, or the
// folder may have been moved and made anew. The site then serves the new folder. While no
// folder has the name, it serves the old one.
func (s *Site) followRoot(now int64) {
	checked := s.rootChecked.Load()
	if now-checked < rootAge || !s.rootChecked.CompareAndSwap(checked, now) {
		return
	}
	var st unix.Stat_t
	if unix.Stat(s.name, &st) != nil {
		return
	}
	s.mu.Lock()
	same := uint64(st.Dev) == s.root.dev && st.Ino == s.root.ino
	s.mu.Unlock()
	if same {
		return
	}
	next, err := openRoot(s.name)
	if err != nil {
		return
	}
	s.mu.Lock()
	old := s.root
	s.root = next
	s.mu.Unlock()
	s.release(old)
	s.cache.drop(func(*entry) bool { return true })
	s.video.made.Store(nil)
}

// absolute returns a name that does not depend on the working directory.
func absolute(name string) string {
	if abs, err := filepath.Abs(name); err == nil && name != "" {
		return abs
	}
	return name
}
