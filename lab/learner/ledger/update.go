package ledger

import (
	"os"
	"path/filepath"
)

// Update writes the ledgers anew from the sources: their headings and hunks. It keeps every explanation. It returns
// the files that have changed; with check it writes nothing.
func Update(repo string, check bool) (changed []string, err error) {
	for _, p := range Pairs {
		hunks, err := p.Hunks(repo)
		if err != nil {
			return nil, err
		}
		page, old, err := Load(repo, p)
		if err != nil {
			return nil, err
		}
		text := page.Render(p, hunks)
		if text == old {
			continue
		}
		changed = append(changed, p.File())
		if check {
			continue
		}
		name := filepath.Join(repo, p.File())
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return changed, nil
}
