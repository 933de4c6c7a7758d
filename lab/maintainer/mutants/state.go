package mutants

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// A state is the file that keeps results; nil keeps nothing.
type state struct {
	mu   sync.Mutex // of file
	file *os.File
	old  map[string]*record
	tree string // of all sources and tests
}

// A record is a line of the file.
type record struct {
	Source string // the hash of the mutated file
	Tree   string // of everything else
	Result *result
}

// openState reads the results of earlier runs. A line that is not whole, because a run was
// killed while it wrote, is not there.
func openState(path string, w *world) (*state, error) {
	if path == "" {
		return nil, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	tree, err := w.fingerprint()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	s := &state{file: f, old: map[string]*record{}, tree: tree}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		k := &record{}
		if json.Unmarshal(lines.Bytes(), k) == nil && k.Result != nil {
			s.old[k.Result.Mutant] = k
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// recall fills in the result if an earlier one still holds.
func (s *state) recall(m *mutant, res *result) bool {
	if s == nil {
		return false
	}
	k := s.old[m.key()]
	if k == nil || k.Source != m.hash() || k.Result.Status != killed && k.Tree != s.tree {
		return false
	}
	line := res.Line
	*res = *k.Result
	res.Line, res.Kept = line, true
	return true
}

// keep writes a result down.
func (s *state) keep(m *mutant, res *result) error {
	if s == nil {
		return nil
	}
	b, err := json.Marshal(&record{m.hash(), s.tree, res})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// The line feed comes first: if the last line of a killed run is not whole, only that one is lost.
	_, err = s.file.Write(append([]byte("\n"), b...))
	return err
}

func (s *state) close() {
	if s != nil {
		_ = s.file.Close()
	}
}

func (m *mutant) hash() string {
	sum := sha256.Sum256(m.source())
	return hex.EncodeToString(sum[:12])
}
