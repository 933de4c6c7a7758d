package site

import (
	"encoding/json"
	"io/fs"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"fourways.example/common/h1"
)

const (
	videoAge = int64(time.Second) // how long a list of videos is used
	// What a walk looks at, at most: a server that was started at the top of a disk
	// must not be kept busy by a list. What lies behind is left out.
	maxWalk = 50_000
)

// video is one line of the list. Its name is its path from the root.
type video struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// videoList is the last answer of /api/video.
type videoList struct {
	mu   sync.Mutex // held during a walk: whoever comes meanwhile wants its result
	made atomic.Pointer[videoAnswer]
}

// videoAnswer is never changed.
type videoAnswer struct {
	at   int64 // when the walk began, on the site's clock
	json []byte
}

// serveVideo answers with all videos beneath the root.
func (s *Site) serveVideo(w *h1.Response) {
	a := s.video.fresh(s.clock())
	if a == nil {
		a = s.walkVideos()
	}
	w.RawFields(jsonLines)
	w.Bytes(a.json)
}

func (l *videoList) fresh(now int64) *videoAnswer {
	if a := l.made.Load(); a != nil && now-a.at < videoAge {
		return a
	}
	return nil
}

// walkVideos looks for videos, one worker at a time. It waits for the disk.
func (s *Site) walkVideos() *videoAnswer {
	s.video.mu.Lock()
	defer s.video.mu.Unlock()
	now := s.clock()
	if a := s.video.fresh(now); a != nil { // the one before us was as quick
		return a
	}
	a := &videoAnswer{at: now}
	a.json, _ = json.Marshal(findVideos(s.root.FS())) // strings and numbers: it cannot fail
	s.video.made.Store(a)
	return a
}

// findVideos lists the regular .mp4 files of a tree by name. Links are not
// followed: what they lead to is in the list by its own name, or does not belong
// there. A folder that cannot be read, a name that no URL or no JSON text can hold:
// left out.
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

// hidden tells whether the last name of path begins with a dot; the names before it
// were looked at on the way down.
func hidden(path string) bool {
	return strings.HasPrefix(path[strings.LastIndexByte(path, '/')+1:], ".") && path != ".well-known"
}

func isVideo(path string) bool {
	return typeOf(path) == "video/mp4" && utf8.ValidString(path) &&
		strings.IndexFunc(path, func(c rune) bool { return c < ' ' || c == 0x7f }) < 0
}
