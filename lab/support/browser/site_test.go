package browser

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

const (
	sample = "video/test-pattern.mp4"
	far    = "video/with-a-hole.mp4" // after the sample in the list
	// gap is the number of bytes between the two halves of the far video.
	gap = 64 << 20
)

// site returns a folder with a copy of docs/site and one more video: the sample with a hole of 64 MiB in its middle. A
// browser fetches the 180 kB of the sample at once and can seek anywhere in them. To seek past the hole it must
// request a range.
func site(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS("../../../docs/site")); err != nil {
		t.Fatal(err)
	}
	video, err := os.ReadFile(filepath.Join(root, sample))
	if err != nil {
		t.Fatal(err)
	}
	front, back, err := halves(video)
	if err != nil {
		t.Fatalf("%s: %v", sample, err)
	}
	f, err := os.Create(filepath.Join(root, far))
	if err != nil {
		t.Fatal(err)
	}
	// The hole takes no space on the disk.
	_, err1 := f.WriteAt(front, 0)
	_, err2 := f.WriteAt(back, int64(len(front))+gap)
	if err := f.Close(); err1 != nil || err2 != nil || err != nil {
		t.Fatal(err1, err2, err)
	}
	return root
}

// halves cuts an MP4 file into two parts, for a file with a hole of gap bytes between them. An MP4 file is a sequence of
// boxes: a length, four letters, the content. The box mdat has all pictures, here in one chunk; halves makes two
// chunks with the same number of pictures.
func halves(file []byte) (front, back []byte, err error) {
	table := []string{"moov", "trak", "mdia", "minf", "stbl"}
	sizes, err1 := locate(file, append(table, "stsz")...)     // of each picture
	perChunk, err2 := locate(file, append(table, "stsc")...)  // how many pictures each chunk has
	positions, err3 := locate(file, append(table, "stco")...) // where in the file each chunk is
	data, err4 := locate(file, "mdat")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, nil, err
	}
	get := func(at int) int { return int(binary.BigEndian.Uint32(file[at:])) }
	put := func(at, value int) { binary.BigEndian.PutUint32(file[at:], uint32(value)) }

	pictures := get(sizes.at + 8)
	if pictures%2 != 0 || get(sizes.at+4) != 0 || get(perChunk.at+4) != 1 || get(positions.at+4) != 1 {
		return nil, nil, errors.New("want one chunk with an even number of pictures, each with its own size")
	}
	first := get(positions.at + 8)
	second := first
	for i := range pictures / 2 {
		second += get(sizes.at + 12 + 4*i)
	}
	// The table of positions gets a second entry, so everything after it moves by four bytes.
	put(perChunk.at+12, pictures/2)
	put(positions.at+4, 2)
	put(positions.at+8, first+4)
	for _, length := range positions.lengths {
		put(length, get(length)+4)
	}
	put(data.lengths[0], get(data.lengths[0])+gap)
	another := binary.BigEndian.AppendUint32(nil, uint32(second+4+gap))
	front = slices.Concat(file[:positions.end], another, file[positions.end:second])
	return front, file[second:], nil
}

// A box is the position of a box in a file.
type box struct {
	at, end int   // the content
	lengths []int // where the length of each enclosing box is, and of this one
}

// locate finds a box by its path of names.
func locate(file []byte, names ...string) (b box, err error) {
	b.end = len(file)
	for _, name := range names {
		for at := b.at; ; {
			if at+8 > b.end {
				return b, fmt.Errorf("no box %q", name)
			}
			size := int(binary.BigEndian.Uint32(file[at:]))
			if size < 8 || size > b.end-at {
				return b, fmt.Errorf("a box of %d bytes in a space of %d", size, b.end-at)
			}
			if string(file[at+4:at+8]) == name {
				b.lengths = append(b.lengths, at)
				b.at, b.end = at+8, at+size
				break
			}
			at += size
		}
	}
	return b, nil
}
