package servers

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Files are the files that all servers serve, and their sizes in bytes.
var Files = map[string]int{
	"1k.txt":     1 << 10,
	"66k.csvt":   66 << 10,   // the page of www.csvt.example in the course's workloads
	"2250k.wad":  2250 << 10, // the data of a game of 1993
	"login.json": 2,          // what h2o answers to GET /api/login
}

// makeRoot writes the files into dir. Every user may read them, because nginx and h2o change their user.
func makeRoot(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, 2))
	for name, size := range Files {
		data := []byte("{}")
		if size > 2 {
			data = bytes.Repeat([]byte{0}, size)
			for i := range data {
				data[i] = 'a' + byte(random.IntN(26))
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
