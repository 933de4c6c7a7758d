package site

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"fourways.example/common/h1"
	"golang.org/x/sys/unix"
)

// A stamp identifies a version of a file on disk. If the file changes, its stamp changes.
// It contains ctime, because a program can set mtime back (cp -p, rsync) but not ctime.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}
}

// settled is how old the last change of a file must be before its stamp is reliable. If a
// file changes twice in one tick of the file system's clock, the second change does not
// change the times. A tick takes milliseconds on most file systems, and two seconds on a
// few. Last-Modified has a tick of one second.
const settled = 2 * time.Second

// load opens path and returns an entry for the result. If path ends with a slash, it opens
// the index.html of the folder.
//
// The error is one that says nothing about the file, such as a lack of memory or descriptors.
//
// O_NONBLOCK makes the open of a FIFO return at once. A file that is not regular is closed
// without being read. If the descriptor is opened with O_NONBLOCK, File.Fd does not change
// its mode.
func (s *Site) load(path string) (*entry, error) {
	name := path[1:]
	if strings.HasSuffix(path, "/") {
		name += "index.html"
	}
	root := s.hold()
	defer s.release(root)
	e := new(entry)
	e.refs.Store(1)
	f, err := root.open(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		if e.kind, err = kindOf(err); err == nil {
			e.private, err = root.folderInPrivate(path)
		}
		if err != nil {
			return nil, err
		}
		return e, nil
	}
	if e.private, err = root.fileInPrivate(f); err == nil {
		e.kind, err = e.read(f)
	}
	if err != nil || e.kind != regular || e.content != nil {
		_ = f.Close()
	} else {
		e.file = f
	}
	if err != nil {
		return nil, err
	}
	if e.kind == regular {
		e.describe(name, s.now())
	}
	return e, nil
}

// kindOf returns the kind of a path that could not be opened or read. It returns err itself
// if err says nothing about the path, because the same call may succeed the next time: then a
// client must not be told that the file is missing.
func kindOf(err error) (kind, error) {
	is := func(all ...unix.Errno) bool {
		return slices.ContainsFunc(all, func(errno unix.Errno) bool { return errors.Is(err, errno) })
	}
	var errno unix.Errno
	switch {
	case is(unix.ENOENT, unix.ENOTDIR, unix.ENAMETOOLONG):
		return missing, nil
	case is(unix.EACCES, unix.EPERM):
		return denied, nil
	// Too many links, a link out of the root, a socket, a device that does not exist.
	case is(unix.ELOOP, unix.EXDEV, unix.ENXIO, unix.ENODEV), !errors.As(err, &errno): // os.Root has an error of its own for a link out of the root
		return other, nil
	case is(unix.EINVAL, unix.EISDIR, unix.EOPNOTSUPP, unix.EOVERFLOW): // a file in /proc or /sys that cannot be read like this
		return broken, nil
	}
	return 0, err
}

// read returns the kind of f, and reads its content if it is a small file. If the stamp
// after reading differs from the one before, the file has changed meanwhile, and read tries
// again, at most three times. After that it uses the content that it has.
//
// The kernel gives the size 0 to files in /proc whose content it makes when they are read.
// Such a file is served if it is small. If it is longer, it is broken: its length is known only
// after it has been read, and only the beginning of it would be sent.
func (e *entry) read(f *os.File) (kind, error) {
	for range 3 {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return 0, os.NewSyscallError("fstat", err)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			return folder, nil
		case unix.S_IFREG:
		default:
			return other, nil
		}
		before := e.stamp
		e.stamp = stampOf(&st)
		if e.content != nil && before == e.stamp {
			break
		}
		if e.size = st.Size; e.size > maxSmall {
			e.content = nil
			break
		}
		var err error
		if e.content, err = readSmall(f); err != nil {
			return kindOf(err)
		}
		e.size = int64(len(e.content))
	}
	if e.content != nil && e.size > maxSmall {
		return broken, nil
	}
	return regular, nil
}

// readSmall reads up to maxSmall bytes of f, and one more if there are more. The result is not
// nil, even if f is empty.
func readSmall(f *os.File) ([]byte, error) {
	b := make([]byte, maxSmall+1)
	n, err := f.ReadAt(b, 0)
	if err == io.EOF {
		err = nil
	}
	return append(make([]byte, 0, n), b[:n]...), err
}

// describe makes the header fields of a file.
//
// The entity tag of a small file is a hash of its content, and that of a large file a hash
// of its stamp. Both are strong validators (RFC 9110 §8.8.1), with one exception. If a large
// file is overwritten twice in one tick of the file system's clock, and its length does not
// change, it keeps its tag. Since version 6.13, Linux prevents this on most file systems:
// after a program has read the time of a file, the next change gets a later time.
//
// A date is a strong validator only if the file was not changed twice in the second that it
// names (§8.8.2.2). So a file has no Last-Modified while it is racy. The time of a file may be
// in the future. Last-Modified is then the time of this look, as §8.8.2.1 demands, and no
// strong validator, because it does not depend on the file.
func (e *entry) describe(name string, now time.Time) {
	h := sha256.New()
	if e.content != nil {
		h.Write(e.content)
	} else {
		fmt.Fprint(h, e.stamp)
	}
	changed := time.Unix(e.stamp.mtime.Unix())
	future := changed.After(now)
	e.racy = now.Sub(time.Unix(e.stamp.ctime.Unix())) < settled || now.Sub(changed) < settled && !future
	e.modified = min(changed.Unix(), now.Unix())
	dated := !e.racy && e.modified >= yearOne
	e.strongDate = dated && !future

	b := append(make([]byte, 0, 320), "ETag: "...)
	etag := len(b)
	b = append(hex.AppendEncode(append(b, '"'), h.Sum(nil)[:12]), '"')
	lastMod := 0
	if dated {
		b = append(b, "\r\nLast-Modified: "...)
		lastMod = len(b)
		b = time.Unix(e.modified, 0).UTC().AppendFormat(b, h1.IMFFixdate)
	}
	// no-cache makes a browser check with the server before it uses its copy. Otherwise it
	// would use an old copy for a tenth of the file's age (RFC 9111 §4.2.2). private forbids
	// shared caches to store a private file.
	cache := "\r\nCache-Control: no-cache\r\n"
	if e.private {
		cache = "\r\nCache-Control: private, no-cache\r\n"
	}
	b = append(b, cache...)
	e.common = len(b)
	b = append(b, "Accept-Ranges: bytes\r\n"+nosniff...)
	e.untyped = len(b)
	b = append(append(append(b, "Content-Type: "...), typeOf(name)...), "\r\n"...)
	e.fields = b
	e.etag = b[etag : etag+26]
	if dated {
		e.lastMod = b[lastMod : lastMod+len(h1.IMFFixdate)]
	}
}

// yearOne is the Unix time of the first second that an HTTP date can express.
var yearOne = time.Date(1, time.January, 1, 0, 0, 0, 0, time.UTC).Unix()
