"""Students' notebooks from the sources of the labs (`build`)."""
