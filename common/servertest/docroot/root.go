// Package docroot makes the folder that servers serve during a test. It has a file of every kind, symbolic links
// to targets inside and outside of the folder, and files that a server must not open.
package docroot

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// BigSize is the size of big.bin in bytes. It is more than the socket buffers of a connection can hold.
const BigSize = 24 << 20

// A Root is a folder to serve. All cases of a run share it. A case that changes a file makes a file of its own
// with [Root.Write].
type Root struct {
	Dir string
	// BigSum is the SHA-256 of big.bin.
	BigSum [sha256.Size]byte
	// Made is when New had made the last file.
	Made time.Time

	outside string       // a folder next to the root, the target of links that leave it
	names   atomic.Int64 // how many files Write has made
}

// Modified is the modification time of every file in a new root. It has no fraction of a second.
var Modified = time.Date(2024, time.February, 29, 12, 34, 56, 0, time.UTC)

// Texts has the small files by their names. For each suffix with a content type there is a file.
var Texts = map[string]string{
	"index.html":           "<!DOCTYPE html>\n<title>index</title>\n",
	"plain.txt":            "a plain text\n",
	"empty.txt":            "",
	"k.txt":                strings.Repeat("0123456789abcde\n", 64), // 1 KiB
	"noext":                "no suffix\n",
	"odd.xyzzy":            "an unknown suffix\n",
	"style.css":            "body { margin: 0 }\n",
	"script.js":            "let x = 1;\n",
	"module.mjs":           "export let x = 1;\n",
	"data.json":            "{\"x\": 1}\n",
	"image.svg":            "<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n",
	"feed.xml":             "<?xml version=\"1.0\"?><feed/>\n",
	"notes.md":             "# notes\n",
	"image.png":            "\x89PNG\r\n\x1a\n",
	"image.jpg":            "\xff\xd8\xff",
	"image.gif":            "GIF89a",
	"image.webp":           "RIFF    WEBP",
	"favicon.ico":          "\x00\x00\x01\x00",
	"paper.pdf":            "%PDF-1.4\n",
	"font.woff2":           "wOF2",
	"module.wasm":          "\x00asm\x01\x00\x00\x00",
	"clip.webm":            "\x1aE\xdf\xa3",
	"song.mp3":             "ID3",
	"a.mp4":                strings.Repeat("mp4", 100),
	"videos/b.mp4":         strings.Repeat("MP4", 50),
	"videos/.hidden.mp4":   "hidden",
	"sub/index.html":       "<!DOCTYPE html>\n<title>sub</title>\n",
	"sub/page.html":        "<!DOCTYPE html>\n<title>sub page</title>\n",
	"page.html":            "<!DOCTYPE html>\n<title>page</title>\n",
	"public.html":          "<!DOCTYPE html>\n<title>public.html</title>\n",
	"public/file.txt":      "below public\n",
	"blank name.txt":       "a space in the name\n",
	"grüße.txt":            "UTF-8 in the name\n",
	"100%.txt":             "a percent sign in the name\n",
	"a%20b.txt":            "decoding the name once gives this\n",
	"private/secret.txt":   "the secret\n",
	"private/index.html":   "<!DOCTYPE html>\n<title>private</title>\n",
	"private/film.mp4":     "private film",
	"private/sub/deep.txt": "the deep secret\n",
	".dot":                 "a dot name\n",
	".git/config":          "a dot folder\n",
	"sub/.dot":             "a dot name in a folder\n",
	".well-known/x":        "well known\n",
	".well-known/.dot":     "a dot name in .well-known\n",
}

// links has the target of each symbolic link by its name. OUTSIDE and ROOT stand for the paths of the folders
// outside and root, OUTSIDE_NAME and ROOT_NAME for their names.
var links = map[string]string{
	"link-in.txt":       "plain.txt",
	"sub/link-up.txt":   "../plain.txt",
	"link-dir":          "sub",
	"link-out.txt":      "OUTSIDE/outside.txt",
	"link-out-rel.txt":  "../OUTSIDE_NAME/outside.txt",
	"link-out-dir":      "../OUTSIDE_NAME",
	"link-abs.txt":      "ROOT/plain.txt",
	"link-loop":         "link-loop",
	"link-dangling.txt": "nothing-there.txt",
	"link-private.txt":  "private/secret.txt",
	"link-private-dir":  "private",
}

// New makes the folder top/root, and top/outside for links that leave it. The caller removes top. All users may
// read the files, so that a server without privileges can serve them.
func New(top string) (*Root, error) {
	r := &Root{Dir: filepath.Join(top, "root"), outside: filepath.Join(top, "outside")}
	if err := os.Chmod(top, 0o755); err != nil {
		return nil, err
	}
	for _, dir := range []string{r.Dir, r.outside, filepath.Join(r.Dir, "empty")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(r.outside, "outside.txt"), []byte("outside\n"), 0o644); err != nil {
		return nil, err
	}
	for _, texts := range []map[string]string{Texts, FileTexts} {
		for name, text := range texts {
			if err := r.Put(name, []byte(text)); err != nil {
				return nil, err
			}
		}
	}
	fill := strings.NewReplacer(
		"OUTSIDE_NAME", filepath.Base(r.outside), "OUTSIDE", r.outside, "ROOT_NAME", filepath.Base(r.Dir), "ROOT", r.Dir,
	)
	for _, links := range []map[string]string{links, fileLinks} {
		for name, to := range links {
			if err := os.MkdirAll(filepath.Dir(r.Path(name)), 0o755); err != nil {
				return nil, err
			}
			if err := os.Symlink(fill.Replace(to), r.Path(name)); err != nil {
				return nil, err
			}
		}
	}
	if err := r.putSpecials(); err != nil {
		return nil, err
	}
	if err := syscall.Mkfifo(filepath.Join(r.Dir, "fifo"), 0o644); err != nil {
		return nil, err
	}
	big := r.Big()
	r.BigSum = sha256.Sum256(big)
	err := r.Put("big.bin", big)
	r.Made = time.Now()
	return r, err
}

// Put writes a file with the modification time Modified.
func (r *Root) Put(name string, data []byte) error {
	path := filepath.Join(r.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		return err
	}
	return os.Chtimes(path, Modified, Modified)
}

// Big returns the content of big.bin: pseudo-random bytes, the same in every run. No part equals another, so
// the checksum also finds parts in the wrong order.
func (r *Root) Big() []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	big := make([]byte, 0, BigSize)
	for len(big) < BigSize {
		big = binary.LittleEndian.AppendUint64(big, rng.Uint64())
	}
	return big
}

// Path returns the path of a file in the root.
func (r *Root) Path(name string) string { return filepath.Join(r.Dir, name) }

// Write makes a file that no other case uses, and returns its name.
func (r *Root) Write(suffix string, data []byte) (string, error) {
	name := fmt.Sprintf("case-%d%s", r.names.Add(1), suffix)
	return name, r.Put(name, data)
}
