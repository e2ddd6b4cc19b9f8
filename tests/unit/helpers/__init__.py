"""What several unit tests share."""

import hypothesis

hypothesis.settings.register_profile("model-exporter", deadline=None)  # a loaded machine is no failure
hypothesis.settings.load_profile("model-exporter")
