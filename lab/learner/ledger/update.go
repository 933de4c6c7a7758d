package ledger

// Text returns the ledger of a pair as the sources give it: its headings and hunks are new, and every explanation
// is kept.
func Text(repo string, p Pair) (string, error) {
	hunks, err := p.Hunks(repo)
	if err != nil {
		return "", err
	}
	page, _, err := Load(repo, p)
	if err != nil {
		return "", err
	}
	return page.Render(p, hunks), nil
}
