"""Numbers of analytic surfaces in results files are the analytic numbers."""

import subprocess
import sys


def test_numbers_need_no_torch():
    code = "import sys, landscape.analysis.comparison; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
