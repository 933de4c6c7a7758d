package site

import (
	"encoding/json"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"fourways.example/common/h1"
	"golang.org/x/sys/unix"
)

const (
	videoAge = int64(time.Second) // how long a list of videos is used before a new walk
	// maxWalk and walkTime limit a walk, because it holds up an event loop and any client can
	// cause it. walkTime is for a slow disk, maxWalk bounds the memory and the list. The list
	// does not contain the files that the walk did not reach.
	maxWalk  = 20_000 // files and folders
	walkTime = 10 * time.Millisecond
	// walkPiece is the number of entries that the walk reads from a folder at a time. Between
	// two pieces it looks at the clock. The first piece of a walk is always used, so that a
	// small root has a complete list on a busy machine.
	walkPiece = 256
)

// video is one element of the list. Its name is its path from the root.
type video struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// videoList caches the last answer of /api/video.
type videoList struct {
	limit   int        // maxWalk, or less in a test
	mu      sync.Mutex // held during a walk
	partial bool       // the last walk was stopped early, and a message says so; mu guards it
	made    atomic.Pointer[videoAnswer]
}

// A videoAnswer is the result of one walk. It is never changed.
type videoAnswer struct {
	at   int64 // when the walk began, on the site's clock
	json []byte
}

// serveVideo answers with the list of all videos in the root and its folders.
func (s *Site) serveVideo(w *h1.Response) {
	now := s.clock()
	s.followRoot(now)
	a := s.video.fresh(now)
	if a == nil {
		a = s.walkVideos()
	}
	w.RawFields(jsonLines)
	w.Bytes(a.json)
}

// fresh returns the cached answer, or nil if it is older than videoAge.
func (l *videoList) fresh(now int64) *videoAnswer {
	if a := l.made.Load(); a != nil && now-a.at < videoAge {
		return a
	}
	return nil
}

// walkVideos walks the tree and returns a new answer. Only one worker walks at a time.
// Meanwhile the others use the old answer; they wait only for the first walk.
func (s *Site) walkVideos() *videoAnswer {
	l := &s.video
	if !l.mu.TryLock() {
		if old := l.made.Load(); old != nil {
			return old
		}
		l.mu.Lock()
	}
	defer l.mu.Unlock()
	now := s.clock()
	if a := l.fresh(now); a != nil { // another worker made it while this one waited
		return a
	}
	root := s.hold()
	defer s.release(root)
	w := findVideos(root.folder, s.now, l.limit)
	a := &videoAnswer{at: now}
	a.json, _ = json.Marshal(w.list) // strings and numbers cannot fail
	// The root may have been replaced during the walk.
	if s.serves(root) {
		l.made.Store(a)
	}
	if w.partial && !l.partial {
		s.warn("/api/video leaves out files: the walk of the root stopped in the folder %q after %d files and folders; it may visit %d and take %v",
			w.folder, w.seen, l.limit, walkTime)
	}
	l.partial = w.partial
	return a
}

// A walk finds the videos of a tree, one folder after another. It has one folder open at a
// time. It reads the folders near the root first, so that a walk that is stopped early
// leaves out deep ones.
type walk struct {
	open    func(name string) (*os.File, error) // opens a folder, but follows no link
	now     func() time.Time
	end     time.Time // when to stop
	limit   int       // of seen and queue
	folder  string    // the folder that the walk reads
	queue   []string  // the folders to read later
	seen    int       // files and folders that the walk has visited
	partial bool      // the walk was stopped early
	list    []video
}

// findVideos returns a finished walk, whose list has the regular .mp4 files of a tree,
// sorted by name. The walk visits at most limit files and folders. It does not follow links:
// the target of a link is in the list under its own name, or is not to be listed. It skips
// folders that it cannot read, and names that a URL or JSON cannot represent.
func findVideos(open func(name string) (*os.File, error), now func() time.Time, limit int) *walk {
	w := &walk{open: open, now: now, end: now().Add(walkTime), limit: limit, queue: []string{"."}}
	w.list = []video{} // an empty list is [], not null
	for len(w.queue) > 0 && !w.stopped() {
		w.folder, w.queue = w.queue[0], w.queue[1:]
		w.read()
	}
	slices.SortFunc(w.list, func(a, b video) int { return strings.Compare(a.Name, b.Name) })
	return w
}

// stopped reports whether the walk must stop, because its time is over or it has reached its
// limit.
func (w *walk) stopped() bool {
	w.partial = w.partial || w.seen >= walkPiece && w.now().After(w.end)
	return w.partial
}

// read visits the entries of w.folder.
func (w *walk) read() {
	f, err := w.open(w.folder)
	if err != nil {
		w.partial = w.partial || exhausted(err)
		return
	}
	defer func() { _ = f.Close() }()
	for !w.stopped() {
		entries, err := f.ReadDir(walkPiece)
		for _, e := range entries {
			if w.seen == w.limit {
				w.partial = true
				return
			}
			w.seen++
			w.visit(f, e)
		}
		if err != nil {
			return // usually io.EOF
		}
	}
}

// visit adds the entry e of the open folder f to the list or to the queue.
func (w *walk) visit(f *os.File, e fs.DirEntry) {
	path := e.Name()
	if w.folder != "." {
		path = w.folder + "/" + path
	}
	switch {
	case hidden(path):
	case e.IsDir():
		if path != "private" {
			w.queue = append(w.queue, path)
		}
	case e.Type().IsRegular() && isVideo(path):
		var st unix.Stat_t
		if unix.Fstatat(int(f.Fd()), e.Name(), &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
			w.list = append(w.list, video{path, st.Size})
		}
	}
}

// hidden reports whether the last name of path begins with a dot. The walk has already
// checked the names before it.
func hidden(path string) bool {
	return strings.HasPrefix(path[strings.LastIndexByte(path, '/')+1:], ".") && path != ".well-known"
}

// isVideo reports whether path is the name of an .mp4 file that a URL and JSON can
// represent.
func isVideo(path string) bool {
	return typeOf(path) == "video/mp4" && utf8.ValidString(path) &&
		strings.IndexFunc(path, func(c rune) bool { return c < ' ' || c == 0x7f }) < 0
}
