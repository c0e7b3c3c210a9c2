package objectstore

// Location tells where the store is: the URL of its endpoint, and its region.
func (s *Store) Location() (endpoint, region string) { return s.endpoint.url(), s.cfg.Region }
