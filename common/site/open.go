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

// stamp is what a file on disk is known by. The time of its last change of status
// is in it because a program can set the other one back (cp -p, rsync).
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}
}

// settled is how old the last change of a file must be for its stamp to be trusted.
// A second change within the same tick of the file system's clock leaves the times
// as they are; ticks are milliseconds on most file systems and two seconds on a few.
const settled = 2 * time.Second

// load opens what path leads to: a file, a folder's index.html if path ends with a
// slash, or something that is not served.
//
// The root opens nothing that lies outside it, however many links are on the way.
// O_NONBLOCK makes the open of a FIFO return at once; what is not a regular file is
// closed again without being read. With this flag in the open the descriptor is not
// one that os.File ever switches between modes, and Fd only returns it.
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
		e.private = s.insidePrivate(path)
		return e, nil
	}
	e.private = s.liesInPrivate(f)
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

// kindOf tells what the error of an open means for the path.
func kindOf(err error) kind {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENAMETOOLONG):
		return nothing
	case errors.Is(err, fs.ErrPermission):
		return denied
	}
	return other
}

// read finds out what f is, and reads it if it is a small file. It tries three times
// to read one whose stamp is the same before and after; one that is always being
// changed is served as it was found.
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

// readSmall reads up to maxSmall bytes of f; not nil even if there are none.
func readSmall(f *os.File) ([]byte, error) {
	b := make([]byte, maxSmall)
	n, err := f.ReadAt(b, 0)
	if err == io.EOF {
		err = nil
	}
	return append(make([]byte, 0, n), b[:n]...), err
}

// describe makes the field lines of a file.
//
// The entity tag of a small file is made from its content, that of a large one from
// its stamp. Either is strong (RFC 9110 §8.8.1) but for one gap: a large file that is
// overwritten twice in one tick of the clock, without a change of its length, keeps
// its tag. Linux has closed it for most file systems in version 6.13, where times
// that somebody has looked at are never given twice.
func (e *entry) describe(name string, now time.Time) {
	h := sha256.New()
	if e.content != nil {
		h.Write(e.content)
	} else {
		fmt.Fprint(h, e.stamp)
	}
	changed := time.Unix(e.stamp.mtime.Unix())
	// RFC 9110 §8.8.2.1: a Last-Modified later than the response's Date is not sent.
	e.modified = min(changed.Unix(), now.Unix())
	e.racy = now.Sub(changed) < settled || now.Sub(time.Unix(e.stamp.ctime.Unix())) < settled

	b := append(make([]byte, 0, 320), "ETag: "...)
	etag := len(b)
	b = append(hex.AppendEncode(append(b, '"'), h.Sum(nil)[:12]), '"')
	b = append(b, "\r\nLast-Modified: "...)
	lastMod := len(b)
	b = time.Unix(e.modified, 0).UTC().AppendFormat(b, h1.IMFFixdate)
	// Whoever has a copy must ask whether it is still good, else a browser goes on
	// with an old one for a tenth of its age (RFC 9111 §4.2.2). A copy of what is
	// in /private is for nobody else.
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
