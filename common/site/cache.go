package site

import (
	"bytes"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"fourways.example/common/h1"
)

const (
	maxOpen  = 256                           // entries in the cache; each may hold an open file
	maxSmall = 16 << 10                      // bytes; files up to this size are kept in memory and closed
	maxAge   = int64(500 * time.Millisecond) // how long the cache uses an entry without checking the disk
)

// A kind is the result of opening a path.
type kind uint8

const (
	missing kind = iota // there is no file or folder of this name
	other               // never served: a FIFO, a device, or a link to a place outside of the root
	denied              // the server has no permission to read it
	broken              // the server cannot read the file, or not the whole of it
	folder
	regular // a regular file
)

// An entry is the result of opening one path. Only its counters change later. If the file
// on disk changes, another entry replaces this one, and responses may still be sending from
// the old one.
//
// After a change, the cache may use the old entry until maxAge has passed. A response
// in this time may combine old header fields with new bytes, because the server does not
// copy a file before it sends it. The length is always correct: h1 ends the connection if
// the file has become too short.
type entry struct {
	kind    kind
	private bool // the file is really in /private, even if the path is a link elsewhere

	file    *os.File // the open file, or nil if content holds it; non-blocking, which regular files ignore
	content []byte   // the content of a small file, or nil
	size    int64
	stamp   stamp // to check whether the file on disk is still the same
	racy    bool  // the file changed shortly before it was read, so its next change may not change the stamp

	etag     []byte // with its quotes; a part of fields
	modified int64  // Last-Modified in Unix seconds
	lastMod  []byte // Last-Modified as text, a part of fields; nil if there is none
	fields   []byte // all field lines of a 200
	common   int    // fields[:common] are the lines of a 304
	untyped  int    // fields[:untyped] are all lines except Content-Type

	strongDate bool // lastMod is a strong validator

	refs    atomic.Int32 // references of the cache and of responses; the last Release closes file
	checked atomic.Int64 // when the disk was last checked, on the site's clock
	used    atomic.Int64 // when a request last used the entry, on the site's clock
}

// FD returns the descriptor of the open file, for sendfile(2).
func (e *entry) FD() int { return int(e.file.Fd()) }

// Release drops one reference.
func (e *entry) Release() {
	if e.refs.Add(-1) == 0 && e.file != nil {
		_ = e.file.Close()
	}
}

// equal reports whether e and other are the same version of the same file. The content of a
// small file is compared, because a program can change a file without changing its stamp: it
// can write to a file that it has mapped (mmap(2)), or change the file twice in one tick.
func (e *entry) equal(other *entry) bool {
	return e.kind == other.kind && e.private == other.private && e.stamp == other.stamp && e.racy == other.racy &&
		bytes.Equal(e.content, other.content)
}

// idle reports whether only the cache has a reference. The result stays true while the
// caller holds the cache's lock for writing, because a new reference needs that lock.
func (e *entry) idle() bool { return e.refs.Load() == 1 }

// send adds n bytes of the file, from offset off on, to the body of w. The caller keeps its
// own reference.
func (e *entry) send(w *h1.Response, off, n int64) {
	if e.file == nil {
		w.Bytes(e.content[off : off+n])
		return
	}
	e.refs.Add(1)
	w.File(e, off, n)
}

// A cache holds the entries that were used last. All workers share it. It keeps only files.
// A path without a file is opened again for each request, so that a new file is served at
// once.
//
// The lock protects the map and is never held during a system call. If an entry is too old,
// one worker checks the disk, and the other workers use the old entry until it is done.
type cache struct {
	limit int
	// load opens a path. It is called without the lock. It returns an error only if the
	// failure says nothing about the path, such as a lack of descriptors; every other failure
	// is a kind.
	load func(path string) (*entry, error)

	mu      sync.RWMutex
	entries map[string]*entry // by decoded path
}

func newCache(limit int, load func(string) (*entry, error)) *cache {
	return &cache{limit: limit, load: load, entries: make(map[string]*entry, limit)}
}

// get returns the entry of path. The caller must release its reference. now is the time on
// the site's clock.
func (c *cache) get(path []byte, now int64) (*entry, error) {
	old := c.find(path)
	if old != nil {
		old.used.Store(now)
		checked := old.checked.Load()
		// If several workers find that the entry is too old, only one checks the disk.
		if now-checked < maxAge || !old.checked.CompareAndSwap(checked, now) {
			return old, nil
		}
	}
	return c.refresh(string(path), old, now)
}

// find returns the entry of path, or nil. The caller must release its reference.
func (c *cache) find(path []byte) *entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e := c.entries[string(path)]
	if e != nil {
		e.refs.Add(1)
	}
	return e
}

// refresh opens path again and returns its entry. If the file is new or has changed, the
// new entry replaces old in the cache. old may be nil. refresh takes over the caller's
// reference to old.
//
// A stat instead of an open would save only one system call, and it would not find out that
// the path now leads to /private.
func (c *cache) refresh(path string, old *entry, now int64) (*entry, error) {
	e, err := c.load(path)
	if exhausted(err) {
		c.drop(func(e *entry) bool { return e.file != nil && e.idle() })
		e, err = c.load(path)
	}
	switch {
	case err != nil && old != nil:
		return old, nil // serve the old entry; after maxAge the disk is checked again
	case err != nil:
		return nil, err
	case old != nil && old.equal(e):
		e.Release()
		return old, nil
	case e.kind != regular:
		c.remove(path, old)
		return e, nil
	}
	e.checked.Store(now)
	e.used.Store(now)
	e.refs.Add(1) // the reference of the cache
	if out := c.insert(path, e); out != nil {
		out.Release()
	}
	if old != nil {
		old.Release()
	}
	return e, nil
}

// insert puts e into the cache at path. It returns the entry that it removed to make room,
// or nil. The caller must release that entry after insert has unlocked the cache, because
// closing a file is a system call.
func (c *cache) insert(path string, e *entry) (out *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out = c.entries[path]
	if out == nil && len(c.entries) >= c.limit {
		victim := c.victim()
		out = c.entries[victim]
		delete(c.entries, victim)
	}
	c.entries[path] = e
	return out
}

// victim returns the path of the entry to remove: the least recently used of the entries
// that no response is sending. Removing such an entry frees its descriptor at once. If
// responses are sending all entries, it returns the least recently used one. It examines
// all entries; that costs little compared to the open that comes before it.
func (c *cache) victim() (path string) {
	var best *entry
	var bestIdle bool
	for p, e := range c.entries {
		idle := e.idle()
		if best == nil || idle && !bestIdle || idle == bestIdle && e.used.Load() < best.used.Load() {
			path, best, bestIdle = p, e, idle
		}
	}
	return path
}

// remove removes old from the cache, unless another entry has replaced it. It also releases
// the caller's reference to old. old may be nil.
func (c *cache) remove(path string, old *entry) {
	if old == nil {
		return
	}
	c.mu.Lock()
	there := c.entries[path] == old
	if there {
		delete(c.entries, path)
	}
	c.mu.Unlock()
	if there {
		old.Release()
	}
	old.Release()
}

// drop removes all entries for which match returns true.
func (c *cache) drop(match func(*entry) bool) {
	var out []*entry
	c.mu.Lock()
	for path, e := range c.entries {
		if match(e) {
			delete(c.entries, path)
			out = append(out, e)
		}
	}
	c.mu.Unlock()
	for _, e := range out {
		e.Release()
	}
}
