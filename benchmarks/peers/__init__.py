"""Other tools beside aerostat, each in a throwaway environment, measured in turn on the same photographs."""
