package manager

import (
	"encoding/json"
	"fmt"
)

// document is a JSON object whose members are kept as they stand unless they
// are set: a spec may have members that this program does not know.
type document map[string]json.RawMessage

func parseDocument(raw []byte) (document, error) {
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("parse spec: %w: %w", ErrInvalid, err)
	}
	if d == nil { // null
		d = document{}
	}
	return d, nil
}

// object returns a member that is an object, empty if it is missing.
func (d document) object(key string) (document, error) {
	raw, ok := d[key]
	if !ok {
		return document{}, nil
	}
	return parseDocument(raw)
}

// set sets a member.
func (d document) set(key string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	d[key] = raw
	return nil
}

func (d document) encode() ([]byte, error) { return json.MarshalIndent(d, "", "  ") }
