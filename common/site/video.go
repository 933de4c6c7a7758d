package site

import (
	"encoding/json"
	"io/fs"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"fourways.example/common/h1"
)

const (
	videoAge = int64(time.Second) // how long a list of videos is used before a new walk
	// maxWalk is the maximum number of files and folders that a walk visits. Without it, a
	// server that serves a whole disk would walk for minutes. The list does not contain the
	// files that the walk did not reach.
	maxWalk = 50_000
)

// video is one element of the list. Its name is its path from the root.
type video struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// videoList caches the last answer of /api/video.
type videoList struct {
	mu   sync.Mutex // held during a walk; other requests wait and use the result of the walk
	made atomic.Pointer[videoAnswer]
}

// A videoAnswer is the result of one walk. It is never changed.
type videoAnswer struct {
	at   int64 // when the walk began, on the site's clock
	json []byte
}

// serveVideo answers with the list of all videos in the root and its folders.
func (s *Site) serveVideo(w *h1.Response) {
	a := s.video.fresh(s.clock())
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

// walkVideos walks the tree and returns a new answer. Only one worker walks at a time. The
// walk waits for the disk.
func (s *Site) walkVideos() *videoAnswer {
	s.video.mu.Lock()
	defer s.video.mu.Unlock()
	now := s.clock()
	if a := s.video.fresh(now); a != nil { // another worker made it while this one waited
		return a
	}
	a := &videoAnswer{at: now}
	a.json, _ = json.Marshal(findVideos(os.DirFS(s.name))) // strings and numbers cannot fail
	s.video.made.Store(a)
	return a
}

// findVideos returns the regular .mp4 files of a tree, sorted by name. It does not follow
// links: the target of a link is in the list under its own name, or is not to be listed.
// It skips folders that it cannot read, and names that a URL or JSON cannot represent.
func findVideos(tree fs.FS) []video {
	list := []video{} // an empty list is [], not null
	seen := 0
	_ = fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		seen++
		switch {
		case seen > maxWalk:
			return fs.SkipAll
		case err != nil:
			return nil
		case path == ".":
			return nil
		case d.IsDir() && (path == "private" || hidden(path)):
			return fs.SkipDir
		case !d.Type().IsRegular() || hidden(path) || !isVideo(path):
			return nil
		}
		if info, err := d.Info(); err == nil {
			list = append(list, video{path, info.Size()})
		}
		return nil
	})
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
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
