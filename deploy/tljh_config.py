"""For The Littlest JupyterHub: copy it to /opt/tljh/config/jupyterhub_config.d/slmlab.py.

The models lie once, in /srv/slmlab; what a student answered and solved lies with the student. One thread each: with
more, everybody waits for everybody. The sources of the labs, which hold the solutions, are not listed.
"""

c.Spawner.environment = {  # noqa: F821 (JupyterHub gives c)
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "SLMLAB_HOME": "/srv/slmlab",
    "SLMLAB_RECORDS": "~/.local/share/slmlab/records",
}
c.Spawner.args = ["--ContentsManager.hide_globs=['__pycache__', 'source']"]  # noqa: F821
