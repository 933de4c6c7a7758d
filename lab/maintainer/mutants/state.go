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

// A state saves results in a file. A nil state saves nothing.
type state struct {
	mu   sync.Mutex // protects file
	file *os.File
	old  map[string]*record
	tree string // the hash of all sources and tests
}

// A record is a line of the file.
type record struct {
	Source string // the hash of the mutated file
	Tree   string // the hash of all sources and tests
	Result *result
}

// openState reads the results of earlier runs. It ignores an incomplete line, which a killed run may leave.
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

// recall copies an earlier result to res, and reports whether there is one that is still valid.
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

// keep saves a result.
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
	// The newline comes first, so that an incomplete last line of a killed run does not spoil this one.
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
