package site

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
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
// few.
const settled = 2 * time.Second

// load opens path and returns an entry for the result. If path ends with a slash, it opens
// the index.html of the folder.
//
// s.root opens no file outside of the root, even if path leads there through links.
// O_NONBLOCK makes the open of a FIFO return at once. A file that is not regular is closed
// without being read. If the descriptor is opened with O_NONBLOCK, File.Fd does not change
// its mode.
func (s *Site) load(path string) (*entry, error) {
	name := path[1:]
	if strings.HasSuffix(path, "/") {
		name += "index.html"
	}
	e := new(entry)
	e.refs.Store(1)
	f, err := s.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	switch {
	case exhausted(err):
		return nil, err
	case err != nil:
		e.kind = kindOf(err)
		e.private = s.folderInPrivate(path)
		return e, nil
	}
	e.private = s.fileInPrivate(f)
	e.kind = e.read(f)
	if e.kind != regular || e.content != nil {
		_ = f.Close()
	} else {
		e.file = f
	}
	if e.kind == regular {
		e.describe(name, s.now())
	}
	return e, nil
}

// kindOf returns the kind of a path that could not be opened.
func kindOf(err error) kind {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENAMETOOLONG):
		return missing
	case errors.Is(err, fs.ErrPermission):
		return denied
	}
	return other
}

// read returns the kind of f, and reads its content if it is a small file. If the stamp
// after reading differs from the one before, the file has changed meanwhile, and read tries
// again, at most three times. After that it uses the content that it has.
func (e *entry) read(f *os.File) kind {
	for range 3 {
		var st unix.Stat_t
		if unix.Fstat(int(f.Fd()), &st) != nil {
			return broken
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			return folder
		case unix.S_IFREG:
		default:
			return other
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
			return broken
		}
		e.size = int64(len(e.content))
	}
	return regular
}

// readSmall reads up to maxSmall bytes of f. The result is not nil, even if f is empty.
func readSmall(f *os.File) ([]byte, error) {
	b := make([]byte, maxSmall)
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
func (e *entry) describe(name string, now time.Time) {
	h := sha256.New()
	if e.content != nil {
		h.Write(e.content)
	} else {
		fmt.Fprint(h, e.stamp)
	}
	changed := time.Unix(e.stamp.mtime.Unix())
	// RFC 9110 §8.8.2.1: Last-Modified must not be later than the Date of the response.
	e.modified = min(changed.Unix(), now.Unix())
	e.racy = now.Sub(changed) < settled || now.Sub(time.Unix(e.stamp.ctime.Unix())) < settled

	b := append(make([]byte, 0, 320), "ETag: "...)
	etag := len(b)
	b = append(hex.AppendEncode(append(b, '"'), h.Sum(nil)[:12]), '"')
	b = append(b, "\r\nLast-Modified: "...)
	lastMod := len(b)
	b = time.Unix(e.modified, 0).UTC().AppendFormat(b, h1.IMFFixdate)
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
	e.lastMod = b[lastMod : lastMod+len(h1.IMFFixdate)]
}
