import sys,asyncio,logging,warnings,tempfile
sys.path[:0]=['python_sdk/src','python_sdk/tests','tests/compat']
from pathlib import Path
logging.disable(logging.CRITICAL); warnings.simplefilter("ignore")
from test_lane_random import answers
from random_apps import Maker
from catzilla._routing import compile_table
first,last=int(sys.argv[1]),int(sys.argv[2])
shown=0; served={}
for seed in range(first,last):
    f=Path(tempfile.mkdtemp())
    slow=asyncio.run(answers(f,seed,False,served)); fast=asyncio.run(answers(f,seed,True,served))
    m=Maker(seed)
    for r,a,b in zip(m.requests,slow,fast):
        if a!=b:
            print("SEED",seed,r)
            sa,sb=repr(a),repr(b)
            import json
            try:
                ja,jb=json.loads(a[0][2])["detail"],json.loads(b[0][2])["detail"]
                print("   only slow",[x for x in ja if x not in jb]); print("   only fast",[x for x in jb if x not in ja]); shown+=1; break
            except Exception as e: print("   ",a[0][0],b[0][0])
            i=next((i for i,(x,y) in enumerate(zip(sa,sb)) if x!=y),min(len(sa),len(sb)))
            print("  slow …",sa[max(0,i-150):i+250]); print("  fast …",sb[max(0,i-150):i+250])
            if len(sys.argv)>3:
                t=compile_table(m.app)
                for c in t.compiled.values():
                    if c.label.split()[1].split("/")[1]==r[1].split("?")[0].split("/")[1]: print(c.source)
            shown+=1
            break
    if shown>4: break
print(served)
