package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// ready is the content of a ready file.
type ready struct {
	API       string `json:"api"` // URL
	S3        string `json:"s3"`  // URL
	Account   string `json:"account"`
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
	Region    string `json:"region"`
}

// writeReady writes a ready file in one step: who sees it, sees all of it.
func writeReady(path string, r ready) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".stevedore-ready-*") // readable by its owner only
	if err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(append(data, '\n')); err != nil {
		f.Close()
		return fmt.Errorf("write ready file: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	return nil
}

func readReady(path string) (ready, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return ready{}, fmt.Errorf("read ready file: %w", err)
	}
	var r ready
	if err := json.Unmarshal(data, &r); err != nil {
		return ready{}, fmt.Errorf("read ready file %s: %w", path, err)
	}
	return r, nil
}
